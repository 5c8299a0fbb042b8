"""Reading over real SSH: servers in this process, on loopback, behave well or badly."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paramiko
import pytest

from dsdeploy import facts, hosts
from dsdeploy.errors import SiteError
from dsdeploy.hosts import Reading
from dsdeploy.site import Site

HOST_KEY, USER_KEY, STRANGER = (paramiko.ECDSAKey.generate() for _ in range(3))


class Door(paramiko.ServerInterface):
    """Lets one key in and hands each command to a function."""

    def __init__(self, act: Callable[[paramiko.Channel, bytes], None]) -> None:
        self.act = act

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL if key == USER_KEY else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.act, args=(channel, command), daemon=True).start()
        return True


def obey(channel: paramiko.Channel, command: bytes) -> None:
    """Run it with this computer's shell."""
    done = subprocess.run(["sh", "-c", command.decode()], capture_output=True, check=False)
    channel.sendall(done.stdout)
    channel.sendall_stderr(done.stderr)
    channel.send_exit_status(done.returncode)
    with suppress(EOFError, OSError):  # the reader may be gone as soon as it has the end of the output
        channel.close()


def flood(channel: paramiko.Channel, command: bytes) -> None:
    try:
        while True:
            channel.sendall(b"\xff" * 65536)
    except OSError:
        return  # the reader had enough


def refuse(channel: paramiko.Channel, command: bytes) -> None:
    channel.sendall_stderr(b"warning: \x1b[2J\nThis account is currently not available.\n")
    channel.close()


def hang(channel: paramiko.Channel, command: bytes) -> None:
    """Keep the channel open and say nothing."""


def half(channel: paramiko.Channel, command: bytes) -> None:
    """Do as told, but close before the last part."""
    output = subprocess.run(["sh", "-c", command.decode()], capture_output=True, check=False).stdout
    lines = output.split(b"\n")
    channel.sendall(b"\n".join(lines[:-2])[:-1])
    channel.close()


@contextmanager
def sshd(address: str, port: int, act: Callable[[paramiko.Channel, bytes], None] | None) -> Iterator[int]:
    """An SSH server; without `act` it takes connections and never says a word. Yields its port."""
    listener = socket.create_server((address, port))
    kept: list[paramiko.Transport | socket.socket] = []

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            kept.append(client)
            if act:
                transport = paramiko.Transport(client)
                transport.add_server_key(HOST_KEY)
                kept.append(transport)
                try:
                    transport.start_server(server=Door(act))
                except (paramiko.SSHException, EOFError, OSError):
                    continue  # the client went away: it did not like our key

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # close alone leaves a blocked accept() its port
        listener.close()
        for item in kept:
            item.close()


def site_of(tmp_path: Path, port: int, addresses: dict[str, str], known: paramiko.PKey | None = HOST_KEY) -> Site:
    told = told_of(tmp_path, port, addresses, known)
    return Site.model_validate(told, context={"base": tmp_path})


def told_of(
    tmp_path: Path, port: int, addresses: dict[str, str], known: paramiko.PKey | None = HOST_KEY
) -> dict[str, Any]:
    """What a site file would say, and the keys it names."""
    USER_KEY.write_private_key_file(str(tmp_path / "id"))
    lines = [f"[{a}]:{port} {known.get_name()} {known.get_base64()}" for a in addresses.values()] if known else []
    (tmp_path / "known_hosts").write_text("\n".join([*lines, ""]))
    ssh = {
        "user": "root", "port": port, "connect_timeout": "1s",
        "identity": str(tmp_path / "id"), "known_hosts": str(tmp_path / "known_hosts"),
    }  # fmt: skip
    roles = {name: {"address": address, "roles": ["monitor"]} for name, address in addresses.items()}
    model = {"name": "m", "version": "v1", "source": "/mnt/weights"}
    return {"site": "t", "ssh": ssh, "stack": "cpu", "hosts": roles, "model": model}


def read_one(
    tmp_path: Path, act: Callable[[paramiko.Channel, bytes], None] | None, known: paramiko.PKey | None = HOST_KEY
) -> Reading:
    with sshd("127.0.0.1", 0, act) as port:
        site = site_of(tmp_path, port, {"a": "127.0.0.1"}, known)
        return hosts.read(site, facts.Memory, facts.Os, timeout=3)["a"]


def test_facts_come_back_by_their_class(tmp_path: Path) -> None:
    reading = read_one(tmp_path, obey)
    assert (reading.reachable, reading.error, reading.missing) == (True, "", {})
    memory = reading.get(facts.Memory)
    assert memory is not None and memory.total > memory.available > 0
    assert reading.get(facts.Os) is not None
    assert reading.get(facts.Thp) is None


def test_facts_a_host_has_no_use_for_are_not_asked(tmp_path: Path) -> None:
    with sshd("127.0.0.1", 0, obey) as port:
        site = site_of(tmp_path, port, {"a": "127.0.0.1"})
        reading = hosts.read(site, facts.Srvr, facts.Engines, facts.SiteId)["a"]
    assert set(reading.values) == {facts.SiteId}


@pytest.mark.parametrize(
    ("act", "known", "error"),
    [
        (obey, None, "no SSH: 127.0.0.1 port {port} shows a host key that known_hosts does not have"),
        (obey, STRANGER, "no SSH: 127.0.0.1 port {port} shows another host key than known_hosts has"),
        (None, HOST_KEY, "no SSH: 127.0.0.1 port {port} did not answer within 1 s"),
        (refuse, HOST_KEY, "SSH works, but no command runs for root: This account is currently not available."),
        (flood, HOST_KEY, "SSH works, but no command runs for root: it printed more than 8 MiB"),
        (hang, HOST_KEY, "SSH works, but no command runs for root: it printed nothing for too long"),
    ],
    ids=["unknown key", "changed key", "mute", "no shell", "flood", "hang"],
)
def test_a_host_that_cannot_be_read_is_a_reading_that_says_why(
    tmp_path: Path,
    act: Callable[[paramiko.Channel, bytes], None] | None,
    known: paramiko.PKey | None,
    error: str,
) -> None:
    reading = read_one(tmp_path, act, known)
    port = reading.hint.split()[2]
    assert not reading.reachable
    assert reading.error.startswith(error.format(port=port))
    assert reading.hint.startswith(f"ssh -p {port} ") and reading.hint.endswith("root@127.0.0.1 true")
    (problem,) = hosts.unreachable({"a": reading})
    assert (problem.where, problem.hint) == ("host a", reading.hint)


def test_a_key_that_is_not_accepted(tmp_path: Path) -> None:
    with sshd("127.0.0.1", 0, obey) as port:
        site = site_of(tmp_path, port, {"a": "127.0.0.1"})
        (tmp_path / "id").unlink()
        STRANGER.write_private_key_file(str(tmp_path / "id"))
        reading = hosts.read(site, facts.Os)["a"]
    assert reading.error == f"no SSH: 127.0.0.1 port {port} refuses {tmp_path / 'id'} for user root"


@pytest.mark.parametrize("content", [None, "", "not a key", "\x00\xff"], ids=["missing", "empty", "text", "binary"])
def test_a_key_that_is_no_key(tmp_path: Path, content: str | None) -> None:
    with sshd("127.0.0.1", 0, obey) as port:
        site = site_of(tmp_path, port, {"a": "127.0.0.1"})
        (tmp_path / "id").unlink()
        if content is not None:
            (tmp_path / "id").write_text(content)
        reading = hosts.read(site, facts.Os)["a"]
    assert not reading.reachable and str(tmp_path / "id") in reading.error


def test_nobody_listens(tmp_path: Path) -> None:
    with sshd("127.0.0.1", 0, obey) as port:
        pass
    reading = hosts.read(site_of(tmp_path, port, {"a": "127.0.0.1"}), facts.Os)["a"]
    assert reading.error == f"no SSH: 127.0.0.1 port {port}: Connection refused"


def test_what_was_finished_before_a_cut_is_kept(tmp_path: Path) -> None:
    reading = read_one(tmp_path, half)
    assert reading.reachable and reading.get(facts.Memory) is not None
    assert dict(reading.missing) == {facts.Os: "it ended early"}


def test_hosts_are_read_together_and_one_bad_one_spoils_nothing(tmp_path: Path) -> None:
    with sshd("127.0.0.1", 0, obey) as port, sshd("127.0.0.2", port, None), sshd("127.0.0.3", port, hang):
        addresses = {"good": "127.0.0.1", "mute": "127.0.0.2", "stuck": "127.0.0.3", "gone": "127.0.0.4"}
        site = site_of(tmp_path, port, addresses)
        readings = hosts.read(site, facts.Clock, timeout=1)
        some = hosts.read(site, facts.Clock, names=["gone", "good"])
    assert {name: reading.reachable for name, reading in readings.items()} == {
        "good": True, "mute": False, "stuck": False, "gone": False,
    }  # fmt: skip
    assert list(some) == ["good", "gone"]
    clock = readings["good"].get(facts.Clock)
    assert clock is not None and clock.offset_s is not None and abs(clock.offset_s) < 60


def test_nobody_asked_is_nothing_read(tmp_path: Path) -> None:
    assert hosts.read(site_of(tmp_path, 22, {"a": "127.0.0.1"}), facts.Os, names=[]) == {}


def test_a_name_the_site_lacks_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="the site has no host b") as raised:
        hosts.read(site_of(tmp_path, 22, {"a": "127.0.0.1"}), facts.Os, names=["a", "b"])
    assert raised.value.problems[0].hint == "its hosts are a"


def test_reads_the_same_under_gevent(tmp_path: Path) -> None:
    """As the command line runs it: patched first, and a mute host does not hold the others up."""
    program = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import json, pathlib, sys; from dsdeploy import facts, hosts, site\n"
        "base = {'base': pathlib.Path(sys.argv[2])}\n"
        "read = site.Site.model_validate(json.loads(sys.argv[1]), context=base)\n"
        "for name, reading in hosts.read(read, facts.Memory, timeout=3).items():\n"
        "    print(name, reading.reachable, reading.get(facts.Memory) is not None)\n"
    )
    with sshd("127.0.0.1", 0, obey) as port, sshd("127.0.0.2", port, None):
        told = told_of(tmp_path, port, {"good": "127.0.0.1", "mute": "127.0.0.2"})
        argv = [sys.executable, "-c", program, json.dumps(told), str(tmp_path)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["good True True", "mute False False"]
