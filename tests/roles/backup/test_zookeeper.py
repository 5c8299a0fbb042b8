"""A consistent copy of a ZooKeeper that is written to all the while, against Debian's real one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dsdeploy_backup import replay, zookeeper
from dsdeploy_backup import zookeeper_files as files
from dsdeploy_backup.config import Config
from dsdeploy_backup.errors import Trouble
from kazoo.client import KazooClient

JARS = [Path("/usr/share/java") / name for name in ("zookeeper.jar", "slf4j-simple.jar")]
JAVA = ["java", "-Xmx96m", "-cp", ":".join(map(str, JARS))]
needs_zookeeper = pytest.mark.skipif(
    not shutil.which("java") or not all(jar.exists() for jar in JARS),
    reason="no ZooKeeper here (Debian packages libzookeeper-java, default-jre-headless)",
)


@contextlib.contextmanager
def serving(data: Path, log: Path, work: Path) -> Iterator[KazooClient]:
    """A server of its own that snapshots every few transactions, and a client."""
    work.mkdir(exist_ok=True)
    port = replay._free()
    text = replay._CONFIG.format(data=data, log=log, port=port)
    (work / "zoo.cfg").write_text(text)
    argv = [JAVA[0], "-Dzookeeper.snapCount=40", "-Dzookeeper.preAllocSize=64", *JAVA[1:]]
    argv += ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(work / "zoo.cfg")]
    with (work / "log").open("wb") as out, subprocess.Popen(argv, stdout=out, stderr=out) as server:
        client = KazooClient(f"127.0.0.1:{port}", timeout=20)
        try:
            client.start(timeout=120)
            yield client
        finally:
            client.stop()
            client.close()
            server.kill()


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Data of a member, copied once while it was written to; `before` were acknowledged before the copy began."""
    root = tmp_path_factory.mktemp("zookeeper")
    data, log, place = root / "data", root / "log", root / "place"
    data.mkdir()
    log.mkdir()
    stop, written = threading.Event(), []

    def write(client: KazooClient) -> None:
        while not stop.is_set() and len(written) < 3000:
            client.create(f"/n/{len(written):05}", os.urandom(40), makepath=True)
            written.append(len(written))

    with serving(data, log, root / "work") as client:
        writer = threading.Thread(target=write, args=(client,))
        writer.start()
        while len(written) < 150:
            stop.wait(0.05)
        before = len(written)
        settled, zookeeper.SETTLED = zookeeper.SETTLED, 0.5
        numbers = zookeeper.copy(data, log, place)
        zookeeper.SETTLED = settled
        after = len(written)
        stop.set()
        writer.join()
    return {
        "root": root,
        "place": place,
        "data": data,
        "log": log,
        "numbers": numbers,
        "before": before,
        "after": after,
    }


@needs_zookeeper
@pytest.mark.slow
def test_everything_acknowledged_before_the_copy_is_in_it_and_zookeeper_reads_it(member: dict[str, Any]) -> None:
    copied = member["root"] / "replayed"
    shutil.copytree(member["place"], copied)
    data, log = (copied / str(member[name]).lstrip("/") for name in ("data", "log"))
    reached = replay.replay(data, log, JAVA, member["root"] / "replay")
    assert reached == int(member["numbers"]["last"], 16)
    with serving(data, log, member["root"] / "again") as client:
        there = sorted(int(name) for name in client.get_children("/n"))
    assert there == list(range(len(there)))  # a prefix of the history, without a hole
    assert member["before"] <= len(there) <= member["after"] + 1


@needs_zookeeper
@pytest.mark.slow
def test_a_flipped_byte_a_cut_log_and_a_missing_log_are_seen(member: dict[str, Any], tmp_path: Path) -> None:
    def fresh(name: str) -> tuple[Path, Path]:
        shutil.copytree(member["place"], tmp_path / name)
        return tuple(tmp_path / name / str(member[part]).lstrip("/") for part in ("data", "log"))  # type: ignore[return-value]

    def flip(path: Path, at: int) -> None:
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)

    data, log = fresh("good")
    assert zookeeper.check(data, log) == {name: member["numbers"][name] for name in ("snapshot", "last")}
    data, log = fresh("snapshot")
    flip(files.listed(data / "version-2", "snapshot")[0].path, 200)
    with pytest.raises(Trouble, match="no whole snapshot"):
        zookeeper.check(data, log)
    data, log = fresh("flipped")
    flip(files.listed(log / "version-2", "log")[0].path, 60)
    with pytest.raises(Trouble, match="damaged in the middle"):
        zookeeper.check(data, log)
    data, log = fresh("missing")
    logs = files.listed(log / "version-2", "log")
    assert len(logs) >= 2
    logs[0].path.unlink()
    with pytest.raises(Trouble, match="gap"):
        zookeeper.check(data, log)


def test_numbers_follow_each_other_within_an_epoch_and_from_one_to_a_later_one() -> None:
    assert files.follows(0x100000005, 0x100000006)
    assert not files.follows(0x100000005, 0x100000007)
    assert files.follows(0x100000005, 0x200000001) and files.follows(0x100000005, 0x400000000)
    assert not files.follows(0x100000005, 0x200000002)
    assert not files.follows(0x200000001, 0x100000009)


def test_the_log_with_the_snapshots_number_and_all_later_ones_are_needed() -> None:
    logs = [files.Numbered(number, Path(f"log.{number:x}")) for number in (1, 10, 20, 30)]
    assert [one.zxid for one in zookeeper.needed(logs, 20)] == [20, 30]
    assert [one.zxid for one in zookeeper.needed(logs, 25)] == [20, 30]
    assert [one.zxid for one in zookeeper.needed(logs, 0)] == [1, 10, 20, 30]
    assert zookeeper.needed([], 5) == []


def test_a_member_that_has_no_data_yet_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "myid").write_text("2\n")
    found = zookeeper.copy(tmp_path / "data", tmp_path / "log", tmp_path / "place")
    assert found == {"snapshot": None, "last": None}
    assert (tmp_path / "place" / str(tmp_path).lstrip("/") / "data" / "myid").read_text() == "2\n"


def jars(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


def test_the_rehearsal_replays_with_what_the_member_is_started_with(tmp_path: Path) -> None:
    """The role's own line of the unit, for a package and for a tarball; where neither is, there is no replay."""
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    unit, package, home = tmp_path / "zookeeper.service", tmp_path / "share", tmp_path / "tarball" / "lib"
    known = f"{package}/zookeeper.jar:{package}/slf4j-simple.jar"
    extra = {"zookeeper_java": [str(java), "-Xmx128m"], "zookeeper_unit": str(unit), "zookeeper_jars": known}
    assert replay.command(extra) == replay.command({}) == []
    unit.write_text(f"ExecStart=/usr/bin/java -Xms256m \\\n    -cp /etc/zookeeper:{home}/* \\\n    org.apache.x y\n")
    jars(home, "zookeeper-jute-3.9.3.jar")
    assert replay.command(extra) == []
    jars(home, "zookeeper-3.9.3.jar")
    assert replay.command(extra) == [str(java), "-Xmx128m", "-cp", f"/etc/zookeeper:{home}/*"]
    unit.unlink()
    jars(package, "zookeeper.jar")
    assert replay.command(extra)[-1] == known
    assert replay.command({**extra, "zookeeper_java": ["no-such-java"]}) == []


def test_a_host_without_zookeeper_rehearses_and_says_that_nothing_was_replayed(tmp_path: Path) -> None:
    config = Config("lab", "gpu1", "", *[tmp_path] * 5)
    part = {"zookeeper": {"snapshot": "5", "last": "9", "data": "/d", "log": "/l"}}
    assert "not replayed" in replay.all_members(tmp_path, {"sets": {"zookeeper": part}}, config)
    assert replay.all_members(tmp_path, {"sets": {"journal": {}}}, config) == ""
