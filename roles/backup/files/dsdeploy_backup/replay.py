"""Proof by ZooKeeper itself: a copy of the data is loaded by a real server, alone, on the loopback address."""

from __future__ import annotations

import glob
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List

from .config import Config
from .errors import Trouble
from .files import empty, remove

LIMIT = 60.0
_CLASSPATH = re.compile(r"\s(?:-cp|-classpath)\s+(\S+)")
_CONFIG = """tickTime=2000
dataDir={data}
dataLogDir={log}
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=srvr
"""


def all_members(folder: Path, document: Dict[str, Any], config: Config) -> str:
    """Replay what the snapshot has of ZooKeeper; a sentence about it, "" where there is nothing. Raises Trouble."""
    java = command(config.extra)
    for name, part in document["sets"].items():
        member = part.get("zookeeper", {})
        if member.get("snapshot"):
            if not java:
                return "; ZooKeeper's data was not replayed: neither its jars nor Java are to be found here"
            data, log = (folder / "sets" / name / str(member[key]).lstrip("/") for key in ("data", "log"))
            reached = replay(data, log, java, config.state / "replay")
            if reached < int(member["last"], 16):
                raise Trouble("ZooKeeper read the data up to %x, not to %s" % (reached, member["last"]), str(data))
            return f"; ZooKeeper replayed them up to {member['last']}"
    return ""


def command(extra: Dict[str, Any]) -> List[str]:
    """argv of a Java that finds ZooKeeper: with what the member itself is started with, else where packages have it.
    Empty where there is none."""
    java = list(extra.get("zookeeper_java") or [])
    if not java or not shutil.which(java[0]):
        return []
    unit = Path(extra.get("zookeeper_unit") or os.devnull)
    for classpath in (_started_with(unit), str(extra.get("zookeeper_jars") or "")):
        if any(_has_zookeeper(entry) for entry in classpath.split(":")):
            return [*java, "-cp", classpath]
    return []


def _started_with(unit: Path) -> str:
    try:
        found = _CLASSPATH.search(unit.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found.group(1) if found else ""


def _has_zookeeper(entry: str) -> bool:
    """Whether a part of a class path, a jar or Java's `folder/*`, has ZooKeeper's own jar."""
    if entry.endswith("/*"):
        return bool(glob.glob(glob.escape(entry[:-1]) + "zookeeper-[0-9]*.jar"))
    return Path(entry).name.startswith("zookeeper") and Path(entry).is_file()


def replay(data: Path, log: Path, java: List[str], work: Path) -> int:
    """The last transaction a server of its own has, after it has read this data. Raises Trouble."""
    empty(work)
    remove(data / "myid")
    port = _free()
    config = work / "zoo.cfg"
    config.write_text(_CONFIG.format(data=data, log=log, port=port), encoding="ascii")
    said = work / "log"
    try:
        with said.open("wb") as out:
            argv = [*java, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]
            server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=str(work),
                                      env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")})  # fmt: skip
        try:
            return _ask(server, port, said)
        finally:
            server.kill()
            server.wait()
    except OSError as error:
        raise Trouble(f"ZooKeeper cannot be started to replay: {error.strerror}", java[0]) from error
    finally:
        remove(work)


def _ask(server: "subprocess.Popen[bytes]", port: int, said: Path) -> int:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as link:
                link.sendall(b"srvr")
                text = b"".join(iter(lambda: link.recv(4096), b"")).decode("ascii", "replace")
        except OSError:
            text = ""
        for line in text.splitlines():
            if line.startswith("Zxid: 0x"):
                return int(line[8:], 16)
        time.sleep(0.2)
    last = said.read_text(errors="replace").strip().splitlines()[-3:]
    raise Trouble("ZooKeeper does not start with this data: " + " / ".join(last)[-600:], str(said))


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
