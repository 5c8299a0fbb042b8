"""What is on this host, as one JSON object: run by `python3 -` over ssh, so standard library and Python 3.8 only.

files      path -> "type mode owner:group" and, with it, a link's target or the digest of a small file's content
units      unit -> "active/enabled" of what dsdeploy starts
listeners  local addresses that are listened on
plays      processes that Ansible left here
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import re
import stat
import subprocess
import sys

ROOTS = ("/srv/dsdeploy", "/etc/dsdeploy", "/etc/haproxy", "/var/lib/dsdeploy")
# what a run writes about itself, what a lock leaves, what only tells progress, the ensemble's own data, byte code
BESIDE = re.compile(
    r"^/var/lib/dsdeploy/(runs|epoch|tmp)(/|$)|/version-2(/|$)|/__pycache__(/|$)"
    r"|\.progress$|/\.?lock$|\.lock$|\.pyc$|\.pid$"
)
# a moment in time is another one each time; nothing else in a file may differ
MOMENT = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?|\b1[6-9]\d{8}(\.\d+)?\b")
# HAProxy's own state keeps times and check results as well: of a server only name, address and what was ordered counts
STATE = re.compile(r"^/var/lib/dsdeploy/router/state\.")
LEADER_PORT = 2888  # whoever leads the ensemble listens there, and that may change
SMALL = 262144
BY_SIZE = "/srv/dsdeploy/runtimes/"  # thousands of files nobody writes twice: their sizes do
UNITS = ("dsdeploy-engine@blue", "dsdeploy-engine@green", "haproxy", "keepalived", "zookeeper")


def entry(path: str, names: dict[int, str]) -> str:
    """One line about one file."""
    seen = os.lstat(path)
    kind = {stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFREG: "file"}.get(stat.S_IFMT(seen.st_mode), "other")
    owner = names.setdefault(seen.st_uid, _name(seen.st_uid))
    shown = f"{kind} {stat.S_IMODE(seen.st_mode):o} {owner}:{_group(seen.st_gid)}"
    if kind == "link":
        return f"{shown} -> {os.readlink(path)}"  # noqa: PTH115
    if kind == "file" and seen.st_size <= SMALL and not path.startswith(BY_SIZE):
        with open(path, "rb") as file:
            content = file.read()
        lasting = ordered(content) if STATE.match(path) else MOMENT.sub(b"AT", content)
        return f"{shown} {hashlib.sha256(lasting).hexdigest()[:16]}"
    return f"{shown} {seen.st_size} bytes" if kind == "file" else shown


def ordered(content: bytes) -> bytes:
    """Columns of HAProxy's server state that do not change by themselves."""
    lines = [line.split() for line in content.splitlines()]
    return b"\n".join(b" ".join([*line[1:2], *line[3:5], *line[6:7]]) for line in lines)


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def files() -> dict[str, str]:
    found: dict[str, str] = {}
    names: dict[int, str] = {}
    for root in ROOTS:
        for folder, folders, inside in os.walk(root):
            folders[:] = [name for name in folders if not BESIDE.search(f"{folder}/{name}")]
            for name in [*inside, *folders]:
                path = f"{folder}/{name}"
                if not BESIDE.search(path):
                    try:
                        found[path] = entry(path, names)
                    except FileNotFoundError:  # gone between two looks: it was somebody's passing file
                        continue
    return found


def units() -> dict[str, str]:
    found = {}
    for unit in UNITS:
        shown = _lines(["systemctl", "show", "-p", "ActiveState,UnitFileState", "--value", unit])
        found[unit] = "/".join(line or "-" for line in shown[:2])
    return found


def listeners() -> list[str]:
    found = {line.split()[3] for line in _lines(["ss", "-Hltn"])}
    ports = {address: int(address.rpartition(":")[2]) for address in found}
    return sorted(address for address, port in ports.items() if port < 32768 and port != LEADER_PORT)


def plays() -> list[str]:
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "AnsiballZ" in words or "/.ansible/tmp/" in words:
                found.append(words[:120])
    return found


def _lines(argv: list[str]) -> list[str]:
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()


if __name__ == "__main__":
    json.dump({"files": files(), "units": units(), "listeners": listeners(), "plays": plays()}, sys.stdout)
