"""Scripts over SSH that must not outlive their connection, against a server in this process that runs them."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from dsdeploy import ssh
from dsdeploy.errors import HostUnreachable
from dsdeploy.fabric import commands
from dsdeploy.site import Site, load

SITE = """\
site: t
ssh: {{user: root, port: {port}, identity: key, known_hosts: known}}
stack: cpu
hosts:
  gpu1: {{address: 127.0.0.1, roles: [engine, router, zookeeper]}}
model: {{name: m, version: v1, source: /mnt/weights}}
"""


class Login(paramiko.ServerInterface):
    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, number: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=run, args=(channel, command), daemon=True).start()
        return True


def run(channel: paramiko.Channel, command: bytes) -> None:
    """As sshd does: the command's standard input is the channel's, and ends with it."""
    process = subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    stdin, stdout = process.stdin, process.stdout
    assert stdin and stdout

    def feed() -> None:
        while channel.recv(4096):
            pass
        stdin.close()

    threading.Thread(target=feed, daemon=True).start()
    while data := stdout.read(4096):
        try:
            channel.sendall(data)
        except OSError:  # nobody listens any more
            break
    process.wait()
    stdout.close()
    channel.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    key = paramiko.RSAKey.generate(2048)
    listener = socket.create_server(("127.0.0.1", 0))
    logins: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(peer)
            transport.add_server_key(key)
            logins.append(transport)
            try:
                transport.start_server(server=Login())
            except (paramiko.SSHException, EOFError):
                continue

    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    paramiko.RSAKey.generate(2048).write_private_key_file(str(tmp_path / "key"))
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
    (tmp_path / "site.yml").write_text(SITE.format(port=port))
    yield load(tmp_path / "site.yml")
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for transport in logins:
        transport.close()


def test_a_script_says_what_it_prints_and_how_it_ended(site: Site) -> None:
    shells = ssh.Shells(site, ["gpu1"])
    said = shells.start("gpu1", commands.guarded("echo '== text'; echo \"it's me\"; exit 7", 20)).read(30)
    shells.close()
    assert commands.answered(said)[0] == 7
    assert "it's me" in commands.answered(said)[1]["text"]


@pytest.mark.parametrize("how", ["time is up", "ended", "closed"])
def test_what_runs_there_ends_with_this_end(site: Site, how: str, tmp_path: Path) -> None:
    shells = ssh.Shells(site, ["gpu1"])
    mark = tmp_path / "pid"
    running = shells.start("gpu1", commands.guarded(f"echo $$ >{mark}.new; mv {mark}.new {mark}; sleep 300", 300))
    limit = time.monotonic() + 30
    while not mark.exists() and time.monotonic() < limit:
        time.sleep(0.02)
    there = Path(f"/proc/{mark.read_text().strip()}")
    assert there.exists()
    if how == "time is up":
        running.read(0.1)
    elif how == "ended":
        running.end()
    else:
        shells.close()  # what Ctrl-C comes to
    limit = time.monotonic() + 30
    while there.exists() and time.monotonic() < limit:
        time.sleep(0.02)
    shells.close()
    assert not there.exists()


def test_hosts_that_do_not_answer_are_all_named(site: Site) -> None:
    (site.file.parent / "known").write_text("")
    with pytest.raises(HostUnreachable) as refused:
        ssh.Shells(site, ["gpu1"])
    assert [problem.where for problem in refused.value.problems] == ["host gpu1"]


def test_a_connection_that_broke_is_said_as_the_hosts(site: Site) -> None:
    shells = ssh.Shells(site, ["gpu1"])
    shells.close()
    with pytest.raises(HostUnreachable):
        shells.start("gpu1", "true")
