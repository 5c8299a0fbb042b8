"""Proof by ZooKeeper itself: a copy of the data is loaded by a real server, alone, on the loopback address."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List

from .config import Config
from .errors import Trouble
from .files import empty, remove

LIMIT = 60.0
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
    java = config.extra.get("zookeeper_java")
    for name, part in document["sets"].items():
        member = part.get("zookeeper", {})
        if java and member.get("snapshot"):
            data, log = (folder / "sets" / name / str(member[key]).lstrip("/") for key in ("data", "log"))
            reached = replay(data, log, java, config.state / "replay")
            if reached < int(member["last"], 16):
                raise Trouble("ZooKeeper read the data up to %x, not to %s" % (reached, member["last"]), str(data))
            return f"; ZooKeeper replayed them up to {member['last']}"
    return ""


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
