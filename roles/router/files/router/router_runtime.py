"""The running HAProxy, through its sockets: what it does now, and telling it otherwise without a reload."""

from __future__ import annotations

import csv
import io
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from router_config import BACKEND, Refused

# Bits of srv_admin_state. CMAINT only remembers that the configuration said `disabled`.
_MAINT = 0x01 | 0x02 | 0x20 | 0x40
_DRAIN = 0x08 | 0x10
_RUNNING = 2
# rise 2 + fall 2 - 1, as haproxy.cfg sets them: the last check passed. Leaving maintenance starts one below it, so a
# server that was just brought back has it only once a check has really passed.
_FULL_HEALTH = 3
TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Server:
    """One colour of one engine host. `state`: ready | drain | maint; `open`: requests it is answering now."""

    name: str
    address: str
    port: int
    state: str
    up: bool
    proven: bool
    check: str
    open: int
    line: str


def ask(path: Path, command: str) -> str:
    """The answer to one command line. Refused when nobody listens."""
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(TIMEOUT_S)
            link.connect(str(path))
            link.sendall(command.encode() + b"\n")
            link.shutdown(socket.SHUT_WR)  # the master's socket waits for more otherwise
            parts = []
            while part := link.recv(65536):
                parts.append(part)
    except OSError as error:
        raise Refused(f"HAProxy does not answer on {path}: {error.strerror or error}") from error
    return b"".join(parts).decode(errors="replace")


def order(path: Path, commands: Iterable[str]) -> None:
    """Commands that answer nothing when they are done, all in one call. Refused with HAProxy's words."""
    if answer := ask(path, "; ".join(commands)).strip():
        raise Refused("HAProxy refused: " + " ".join(answer.split()))


def info(path: Path) -> dict[str, str]:
    """`show info`, names to values."""
    return dict(line.split(": ", 1) for line in ask(path, "show info").splitlines() if ": " in line)


def structure(path: Path) -> str:
    """Digest of the configuration that runs; "" where nothing of ours runs."""
    try:
        words = info(path).get("description", "").split()
    except Refused:
        return ""
    return words[1] if len(words) == 2 and words[0] == "dsdeploy" else ""


def servers(path: Path) -> dict[str, Server]:
    """Every server of the backend, by name."""
    stats = _stats(ask(path, f"show stat {BACKEND} 4 -1"))
    found = {}
    for line in ask(path, f"show servers state {BACKEND}").splitlines():
        field = line.split()
        if line.startswith("#") or len(field) < 19:
            continue
        row, admin = stats[field[3]], int(field[6])
        found[field[3]] = Server(
            name=field[3], address=field[4], port=int(field[18]),
            state="maint" if admin & _MAINT else "drain" if admin & _DRAIN else "ready",
            up=int(field[5]) == _RUNNING,
            proven=int(field[5]) == _RUNNING and int(field[12]) >= _FULL_HEALTH,
            check=row["check_status"].lstrip("* "), open=int(row["scur"] or 0), line=line,
        )  # fmt: skip
    return found


def _stats(text: str) -> dict[str, dict[str, str]]:
    if not text.startswith("# pxname"):  # a process that ended between two questions
        return {}
    return {row["svname"]: row for row in csv.DictReader(io.StringIO(text.lstrip("# ")))}


def old_workers(master: Path) -> dict[int, dict[str, int]]:
    """Processes of before a reload that still answer requests: pid -> open requests by server. Refused if the
    master does not say: not knowing is not zero."""
    old = ask(master, "show proc").partition("# old workers")[2].partition("# programs")[0]
    pids = [int(pid) for pid in re.findall(r"^(\d+)\s+worker", old, re.MULTILINE)]
    return {pid: _open(_stats(ask(master, f"@!{pid} show stat {BACKEND} 4 -1"))) for pid in pids}


def cut(path: Path, master: Path, name: str) -> None:
    """Ends the requests that a server is answering, in this process and in those of before a reload: these know
    no servers any more, so their sessions are ended one by one."""
    order(path, [f"shutdown sessions server {BACKEND}/{name}"])
    for pid in old_workers(master):
        sessions = ask(master, f"@!{pid} show sess").splitlines()
        for session in (line.split(":")[0] for line in sessions if f" srv={name} " in line):
            ask(master, f"@!{pid} shutdown session {session}")


def _open(stats: dict[str, dict[str, str]]) -> dict[str, int]:
    return {name: int(row.get("scur") or 0) for name, row in stats.items()}


def releases(path: Path, file: Path) -> dict[str, str]:
    """The map as the process holds it: server name -> release."""
    fields = (line.split() for line in ask(path, f"show map {file}").splitlines())
    return {field[1]: field[2] for field in fields if len(field) == 3 and field[0].startswith("0x")}


def set_releases(path: Path, file: Path, wanted: dict[str, str]) -> list[str]:
    """Makes the process's map equal; says what was changed."""
    held = releases(path, file)
    new = {name: value for name, value in wanted.items() if held.get(name) != value}
    changes = [f"{'set' if name in held else 'add'} map {file} {name} {value}" for name, value in new.items()]
    changes += [f"del map {file} {name}" for name in held if name not in wanted]
    if changes:
        order(path, changes)
    return [f"release of {name} is {value}" for name, value in new.items()]
