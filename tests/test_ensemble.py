"""The deploy lock, against three ZooKeeper members on this computer, and without any.

The members need Java and ZooKeeper's jars (Debian: zookeeper, default-jre-headless); SSH is left out,
a tunnel leads straight to its member. The lab's tests do the same with machines and SSH.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.security import make_acl

from dsdeploy import ensemble, ssh
from dsdeploy import owner as owners
from dsdeploy.ensemble import local
from dsdeploy.ensemble import session as sessions
from dsdeploy.errors import DsdeployError, Fenced, GateError, HostUnreachable, LockHeld, Problem
from dsdeploy.owner import Owner
from dsdeploy.site import Site
from dsdeploy.ssh import tunnel

JARS = [Path("/usr/share/java") / name for name in ("zookeeper.jar", "slf4j-simple.jar")]
ROOT = Path(__file__).resolve().parent.parent
LOCK, EPOCH, RELEASE = "/dsdeploy/lab/lock", "/dsdeploy/lab/epoch", "/dsdeploy/lab/release"
SESSION_SECONDS = 3.0

# a run of its own, told what to do line by line
CHILD = """
import json, socket, sys
from pathlib import Path
from dsdeploy import ensemble, ssh
from dsdeploy.ensemble import session
from dsdeploy.errors import DsdeployError
from dsdeploy.site import load
shipped, own, ports, run, seconds = sys.argv[1:]
site, ports = load(Path(shipped)), json.loads(ports)
site._file, session.SESSION_SECONDS = Path(own), float(seconds)
ssh.Tunnel._channel = lambda self: socket.create_connection(("127.0.0.1", ports[self._host]))
with ensemble.lock(site, "upgrade", run, list(ports), 0) as lock:
    print("held", lock.epoch, flush=True)
    for line in sys.stdin:
        try:
            word = line.strip()
            lock.check() if word == "check" else lock.step("switch") if word == "step" else lock.record("r1", run)
            print("ok", flush=True)
        except DsdeployError as error:
            print(type(error).__name__, flush=True)
"""


def until(true: Callable[[], object], seconds: float = 40) -> None:
    """Wait for something that other processes bring about."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


@pytest.fixture
def site(lab_site: Site, tmp_path: Path) -> Site:
    return beside(lab_site, tmp_path)


def beside(site: Site, folder: Path) -> Site:
    """The same site, from a checkout of its own."""
    copied = site.model_copy()
    copied._file = folder / "site.yml"
    return copied


# ---- on this computer only


def test_the_second_run_is_told_who_holds_the_lock(site: Site) -> None:
    with ensemble.lock(site, "up", "run-1", (), 0) as lock:
        lock.step("build")
        with pytest.raises(LockHeld) as held, ensemble.lock(site, "up", "run-2", (), 0):
            pass
        there = ensemble.holder(site, ())
    assert f"(pid {os.getpid()})" in held.value.what and "up, at step build" in held.value.what
    assert "run run-1" in held.value.where and lock.id in held.value.where
    assert "dsdeploy lock show SITE" in held.value.hint
    assert there and (there.id, there.step, there.dead()) == (lock.id, "build", False)


def test_a_released_lock_can_be_taken_again_and_counts_on_from_what_hosts_have_seen(site: Site, tmp_path: Path) -> None:
    for seen in (0, 41):
        with ensemble.lock(site, "up", f"run-{seen}", (), seen) as lock:
            lock.check()
            lock.record("r1", "run-1")
            assert lock.epoch == seen + 1
    assert ensemble.holder(site, ()) is None
    assert list((tmp_path / ".dsdeploy" / "lab").iterdir()) == []


@pytest.mark.parametrize("text", ['{"owner": "somebody", "pid": 1}', "", "{", "\0" * 400])
def test_what_a_killed_run_left_in_the_file_holds_nothing(site: Site, tmp_path: Path, text: str) -> None:
    folder = tmp_path / ".dsdeploy" / "lab"
    folder.mkdir(parents=True)
    (folder / "lock").write_text(text)
    assert ensemble.holder(site, ()) is None
    with ensemble.lock(site, "up", "run-1", (), 0) as lock:
        lock.check()


def test_release_needs_the_id_and_fences_the_holder(site: Site) -> None:
    with pytest.raises(DsdeployError, match="nobody holds the lock"):
        ensemble.release(site, (), "0123456789ab")
    with ensemble.lock(site, "up", "run-1", (), 0) as lock:
        with pytest.raises(DsdeployError, match=f"another id: {lock.id}"):
            ensemble.release(site, (), "0123456789ab")
        lock.check()
        assert ensemble.release(site, (), lock.id).run == "run-1"
        with ensemble.lock(site, "up", "run-2", (), 0) as second:
            for fenced in (lock.check, lambda: lock.step("switch"), lambda: lock.record("r1", "run-1")):
                with pytest.raises(Fenced, match="held by"):
                    fenced()
            second.check()
        with pytest.raises(Fenced, match="released"):
            lock.check()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("call", ["open", "pwrite"])
def test_a_lock_that_cannot_be_written_is_not_a_held_one(
    site: Site, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(local.os, call, refuse)
        with pytest.raises(DsdeployError) as told, ensemble.lock(site, "up", "run-1", (), 0):
            pass
    assert type(told.value) is DsdeployError
    assert told.value.what == f"cannot write the lock file: {os.strerror(code)}"
    assert told.value.where.endswith(".dsdeploy/lab/lock") and told.value.hint
    with ensemble.lock(site, "up", "run-1", (), 0):
        pass


def test_a_full_disk_is_told(lab_site: Site, tmp_path: Path) -> None:
    """A file system of two pages, filled."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", tmp_path], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        (tmp_path / "filling").write_bytes(bytes(8192))
        with (
            pytest.raises(DsdeployError, match="cannot write the lock file: No space left on device"),
            ensemble.lock(beside(lab_site, tmp_path), "up", "run-1", (), 0),
        ):
            pass
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_without_ssh_the_hosts_are_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(site: Site, host: str) -> None:
        raise HostUnreachable([Problem(f"no SSH to {host}", host)])

    monkeypatch.setattr(tunnel, "connect", connect)
    monkeypatch.setattr(sessions, "CONNECT_SECONDS", 1.0)
    with pytest.raises(HostUnreachable) as told, ensemble.lock(site, "up", "run-1", ("gw1", "gpu1"), 0):
        pass
    assert [problem.where for problem in told.value.problems] == ["gw1", "gpu1"]
    assert ensemble.holder(site, ()) is None


# ---- with an ensemble


@dataclass
class Members:
    """Three members; `ports` by host name."""

    ports: dict[str, int]
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]]

    @property
    def names(self) -> list[str]:
        return list(self.ports)

    def start(self, name: str) -> None:
        java = [shutil.which("java") or "", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        log = (self.folder / f"{name}.log").open("ab")
        words = [*java, ":".join(map(str, JARS)), main, str(self.folder / f"{name}.cfg")]
        self.processes[name] = subprocess.Popen(words, stdout=log, stderr=log)

    def mode(self, name: str) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=1) as peer:
                peer.sendall(b"srvr")
                text = b"".join(iter(lambda: peer.recv(4096), b"")).decode()
        except OSError:
            return ""
        return next((line.removeprefix("Mode: ") for line in text.splitlines() if line.startswith("Mode: ")), "")

    def stop(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def whole(self) -> None:
        """All three run and serve again."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                self.start(name)
            else:
                process.send_signal(signal.SIGCONT)
        until(lambda: sorted(map(self.mode, self.names)) == ["follower", "follower", "leader"], 60)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    if not shutil.which("java") or not all(jar.exists() for jar in JARS):
        pytest.skip("no ZooKeeper here: needs Debian's zookeeper and default-jre-headless")
    folder = tmp_path_factory.mktemp("ensemble")
    with ExitStack() as stack:  # nine ports that are free now
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(9)]
        free = [listener.getsockname()[1] for listener in taken]
    names = ["gw1", "gpu1", "gpu2"]
    voters = "".join(f"server.{n}=127.0.0.1:{free[3 + n]}:{free[5 + n + 1]}\n" for n in (0, 1, 2))
    for number, name in enumerate(names):
        data = folder / name
        data.mkdir()
        (data / "myid").write_text(str(number))
        (folder / f"{name}.cfg").write_text(
            f"dataDir={data}\nclientPort={free[number]}\nclientPortAddress=127.0.0.1\ntickTime=500\ninitLimit=20\n"
            f"syncLimit=6\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\nforceSync=no\n{voters}"
        )
    members = Members(dict(zip(names, free, strict=False)), folder, {})
    try:
        for name in names:
            members.start(name)
        members.whole()
        yield members
    finally:
        for name in members.processes:
            members.stop(name)


@pytest.fixture
def members(running: Members, monkeypatch: pytest.MonkeyPatch) -> Iterator[Members]:
    """The ensemble, whole, with an empty tree."""
    running.whole()
    monkeypatch.setattr(sessions, "SESSION_SECONDS", SESSION_SECONDS)
    ports = running.ports
    monkeypatch.setattr(
        ssh.Tunnel, "_channel", lambda self: socket.create_connection(("127.0.0.1", ports[self._host]), timeout=5)
    )
    yield running
    running.whole()
    with_client(running, lambda client: client.delete("/dsdeploy", recursive=True))


@pytest.fixture
def client(members: Members) -> Iterator[KazooClient]:
    """Somebody else who looks at ZooKeeper."""
    client = KazooClient(hosts=",".join(f"127.0.0.1:{port}" for port in members.ports.values()))
    client.start()
    yield client
    client.stop()
    client.close()


def with_client(members: Members, act: Callable[[KazooClient], object]) -> None:
    client = KazooClient(hosts=",".join(f"127.0.0.1:{port}" for port in members.ports.values()))
    client.start()
    act(client)
    client.stop()
    client.close()


class Child:
    """Another run, in a process and a checkout of its own."""

    def __init__(self, members: Members, folder: Path, run: str) -> None:
        folder.mkdir(exist_ok=True)
        words = [str(ROOT / "inventory/lab/site.yml"), str(folder / "site.yml"), json.dumps(members.ports), run]
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, *words, str(SESSION_SECONDS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert self.answer().startswith("held ")

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def do(self, word: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.answer()

    def leave(self) -> int:
        self.process.communicate()
        return self.process.returncode


def node(client: KazooClient, path: str) -> str | None:
    client.sync(path)
    try:
        return client.get(path)[0].decode()
    except NoNodeError:
        return None


def held_by(client: KazooClient) -> Owner | None:
    text = node(client, LOCK)
    return owners.read(text) if text is not None else None


def test_a_run_holds_the_lock_says_its_step_and_leaves_nothing(
    site: Site, members: Members, client: KazooClient
) -> None:
    with ensemble.lock(site, "upgrade", "run-1", members.names, 6) as lock:
        lock.check()
        for step in ("canary", "switch"):
            lock.step(step)
            there = ensemble.holder(site, members.names)
            assert there and (there.id, there.step, there.run) == (lock.id, step, "run-1")
        lock.record("r1", "run-1")
        lock.record("r2", "run-1")
        assert lock.epoch == 7 and node(client, EPOCH) == "7"
    assert node(client, LOCK) is None and ensemble.holder(site, members.names) is None
    recorded = json.loads(node(client, RELEASE) or "")
    assert (recorded["release"], recorded["run"]) == ("r2", "run-1") and "at" in recorded


def test_of_two_takers_one_is_told_who_holds_it(site: Site, members: Members, tmp_path: Path) -> None:
    child = Child(members, tmp_path / "other", "run-1")
    assert child.do("step") == "ok"
    with pytest.raises(LockHeld) as held, ensemble.lock(site, "up", "run-2", members.names, 0):
        pass
    assert f"(pid {child.process.pid})" in held.value.what and "at step switch" in held.value.what
    assert "run run-1" in held.value.where
    assert child.do("check") == "ok" and child.leave() == 0
    with ensemble.lock(site, "up", "run-2", members.names, 0) as lock:
        assert lock.epoch == 2


def test_of_many_takers_at_once_exactly_one_wins(lab_site: Site, members: Members, tmp_path: Path) -> None:
    won, told, all_tried = [], [], threading.Barrier(4)

    def run(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            with ensemble.lock(beside(lab_site, folder), "up", f"run-{number}", members.names, 0) as lock:
                won.append(lock)
                all_tried.wait(60)
        except LockHeld as error:
            told.append(error)
            all_tried.wait(60)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(told) == 3
    assert all(f"run {won[0].run}" in error.where for error in told)


def test_the_lock_of_a_killed_run_is_taken_over_at_once(
    site: Site, members: Members, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    child = Child(members, tmp_path / "other", "run-1")
    child.process.kill()
    child.process.wait()
    with ensemble.lock(site, "up", "run-2", members.names, 0) as lock:
        assert lock.epoch == 2
        lock.check()
    assert "took over the lock" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "taken"),
    [({}, False), ({"started": "1"}, True), ({"machine": "another", "started": "1"}, False)],
    ids=["alive", "its pid came back", "on another computer"],
)
def test_only_a_proven_death_gives_the_lock_away(
    site: Site, members: Members, client: KazooClient, change: dict[str, str], taken: bool
) -> None:
    there = replace(owners.me("upgrade", "run-1"), **change)
    client.create(LOCK, there.text().encode(), ephemeral=True, makepath=True)
    with ExitStack() as stack:
        if not taken:
            stack.enter_context(pytest.raises(LockHeld, match="upgrade"))
        with ensemble.lock(site, "up", "run-2", members.names, 0) as lock:
            lock.check()
    assert (held_by(client) is None) == taken


def test_an_unreadable_lock_is_held_and_can_be_released_by_its_id(
    site: Site, members: Members, client: KazooClient
) -> None:
    client.create(LOCK, b"{", makepath=True)
    with pytest.raises(LockHeld) as held, ensemble.lock(site, "up", "run-2", members.names, 0):
        pass
    ensemble.release(site, members.names, held.value.where.split()[-1])
    with ensemble.lock(site, "up", "run-2", members.names, 0) as lock:
        lock.check()


def test_a_released_lock_fences_its_holder_and_a_wrong_id_does_not(
    site: Site, members: Members, client: KazooClient
) -> None:
    with ensemble.lock(site, "up", "run-1", members.names, 0) as lock:
        with pytest.raises(DsdeployError, match=f"another id: {lock.id}"):
            ensemble.release(site, members.names, "0123456789ab")
        lock.check()
        assert ensemble.release(site, members.names, lock.id).run == "run-1"
        for fenced in (lock.check, lambda: lock.step("switch"), lambda: lock.record("r1", "run-1")):
            with pytest.raises(Fenced):
                fenced()
        client.create(LOCK, owners.me("up", "run-2").text().encode())
        with pytest.raises(Fenced, match=r"held by .*, up"):
            lock.check()
    there = held_by(client)
    assert there and there.run == "run-2"  # not ours: left alone
    assert node(client, RELEASE) is None
    with pytest.raises(DsdeployError, match="nobody holds"):
        client.delete(LOCK)
        ensemble.release(site, members.names, lock.id)


def test_an_expired_session_fences_though_kazoo_opens_another(
    site: Site, members: Members, client: KazooClient
) -> None:
    with ensemble.lock(site, "up", "run-1", members.names, 0) as lock:
        twin = KazooClient(hosts=f"127.0.0.1:{members.ports['gpu1']}", client_id=lock._session._client.client_id)
        twin.start()
        twin.stop()  # closes the session that both share
        twin.close()
        until(lambda: held_by(client) is None)
        with pytest.raises(Fenced):
            lock.check()
        with pytest.raises(Fenced):
            lock.step("switch")


@pytest.mark.parametrize("word", ["check", "step", "record"])
def test_a_run_that_slept_through_its_session_is_fenced_before_anything(
    site: Site, members: Members, client: KazooClient, tmp_path: Path, word: str
) -> None:
    child = Child(members, tmp_path / "other", "run-1")
    child.process.send_signal(signal.SIGSTOP)
    with pytest.raises(LockHeld), ensemble.lock(site, "up", "run-2", members.names, 0):
        pass
    until(lambda: held_by(client) is None)
    with ensemble.lock(site, "up", "run-2", members.names, 0) as lock:
        child.process.send_signal(signal.SIGCONT)
        assert child.do(word) == "Fenced"
        assert child.leave() == 0
        lock.check()
    assert node(client, RELEASE) is None


def test_an_answer_that_lay_through_a_pause_is_asked_for_again(
    site: Site, members: Members, client: KazooClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ensemble.lock(site, "up", "run-1", members.names, 0) as lock:
        clock = iter([0.0, SESSION_SECONDS])  # asked, and answered before the pause

        def now() -> float:
            read = next(clock, None)
            if read:
                client.delete(LOCK)
            return SESSION_SECONDS if read is None else read

        monkeypatch.setattr(sessions, "_now", now)
        with pytest.raises(Fenced):
            lock.check()


def test_the_file_of_a_sleeping_run_does_not_hold_once_zookeeper_let_go(
    site: Site, members: Members, client: KazooClient, tmp_path: Path
) -> None:
    child = Child(members, tmp_path, "run-1")  # the same checkout
    child.process.send_signal(signal.SIGSTOP)
    with pytest.raises(LockHeld), ensemble.lock(site, "up", "run-2", members.names, 0):
        pass
    until(lambda: held_by(client) is None)
    with ensemble.lock(site, "up", "run-2", members.names, 0) as lock:
        child.process.send_signal(signal.SIGCONT)
        assert child.do("check") == "Fenced" and child.leave() == 0
        lock.check()
        there = ensemble.holder(site, ())
        assert there and there.id == lock.id  # what the fenced run tidied was its own
    assert ensemble.holder(site, ()) is None


def test_a_run_without_an_ensemble_holds_against_one_with(site: Site, members: Members) -> None:
    with (
        ensemble.lock(site, "up", "run-1", (), 0),
        pytest.raises(LockHeld, match="up"),
        ensemble.lock(site, "up", "run-2", members.names, 0),
    ):
        pass


@pytest.mark.parametrize("known", [None, "", "3", "12", "many"])
def test_the_epoch_never_falls_below_what_a_host_has_seen(
    site: Site, members: Members, client: KazooClient, known: str | None
) -> None:
    if known is not None:
        client.create(EPOCH, known.encode(), makepath=True)
    with ensemble.lock(site, "up", "run-1", members.names, 8) as lock:
        assert lock.epoch == (13 if known == "12" else 9)
        assert node(client, EPOCH) == str(lock.epoch)


def test_members_may_be_restarted_one_by_one(
    site: Site, members: Members, client: KazooClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SESSION_SECONDS", 10.0)  # to elect another leader takes a busy computer seconds
    with ensemble.lock(site, "up", "run-1", members.names, 0) as lock:
        for name in sorted(members.names, key=lambda name: members.mode(name) == "leader"):
            members.stop(name)
            lock.check()
            lock.step(f"restart {name}")
            members.whole()
            lock.step(f"after {name}")
        there = held_by(client)
        assert there and there.id == lock.id


def test_a_member_that_hangs_is_left_for_another(site: Site, members: Members, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SLOW_SECONDS", 0.5)
    follower = next(name for name in members.names if members.mode(name) == "follower")
    with ensemble.lock(site, "up", "run-1", [follower], 0) as lock:
        lock._session._client.set_hosts(  # from here on it may go elsewhere
            ",".join(f"127.0.0.1:{port}" for port in (lock._session._tunnels.ports[0], *members.ports.values()))
        )
        members.processes[follower].send_signal(signal.SIGSTOP)
        lock.step("switch")
        lock.check()


def test_without_a_quorum_nothing_is_committed_and_leaving_takes_no_time(
    site: Site, members: Members, client: KazooClient, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sessions, "WRITE_SECONDS", 2.0)
    with ensemble.lock(site, "up", "run-1", members.names, 0) as lock:
        for name in members.names[:2]:
            members.stop(name)
        for gated in (lock.check, lambda: lock.step("switch"), lambda: lock.record("r1", "run-1")):
            with pytest.raises(GateError, match="the ensemble takes no write"):
                gated()
        left = time.monotonic()
    assert time.monotonic() - left < 9  # kazoo alone takes ten
    said = capfd.readouterr()
    assert "ends by itself" in said.err and "Traceback" not in said.err
    assert ensemble.holder(site, ()) is None


def test_a_quorum_that_comes_back_in_time_is_waited_for(site: Site, members: Members, client: KazooClient) -> None:
    with ensemble.lock(site, "up", "run-1", members.names, 0) as lock:
        for name in members.names[:2]:
            members.processes[name].send_signal(signal.SIGSTOP)
        waker = threading.Timer(1.0, members.whole)
        waker.start()
        lock.step("switch")
        waker.join()
        there = held_by(client)
        assert there and (there.id, there.step) == (lock.id, "switch")


def test_a_refusal_of_zookeeper_is_told_as_that(site: Site, members: Members, client: KazooClient) -> None:
    client.ensure_path("/dsdeploy")
    client.create("/dsdeploy/lab", acl=[make_acl("world", "anyone", read=True, admin=True)])
    try:
        with (
            pytest.raises(DsdeployError, match="NoAuthError") as told,
            ensemble.lock(site, "up", "run-1", members.names, 0),
        ):
            pass
        assert type(told.value) is DsdeployError and LOCK in told.value.where
    finally:
        client.set_acls("/dsdeploy/lab", [make_acl("world", "anyone", all=True)])


def test_a_creation_whose_answer_was_lost_is_ours(
    site: Site, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = sessions.Session.create

    def forgetful(self: sessions.Session, path: str, text: str, **options: object) -> bool:
        create(self, path, text, **options)
        return create(self, path, text, **options)

    monkeypatch.setattr(sessions.Session, "create", forgetful)
    with ensemble.lock(site, "up", "run-1", members.names, 0) as lock:
        lock.check()
