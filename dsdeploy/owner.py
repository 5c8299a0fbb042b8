"""Who holds a lock, and is that process proven dead. Reads only this computer's /proc.

A process is named by the computer and boot it runs on, its pid, and the moment the
kernel started it: a pid alone comes back for somebody else's process.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

_PROC = Path("/proc")
_UNKNOWN = "?"


@dataclass(frozen=True)
class Owner:
    """A run that holds a lock. `id` is the lock's own, drawn anew for each run; `since` is ISO 8601 in UTC."""

    id: str
    user: str
    host: str
    machine: str
    pid: int
    started: str
    verb: str
    run: str
    since: str
    step: str = ""

    def sentence(self) -> str:
        """`root@ops1 (pid 4242) since 05:12:33, upgrade, at step switch`; the time is in UTC."""
        if not self.pid:
            return "somebody whose entry cannot be read"
        at = f", at step {self.step}" if self.step else ""
        return f"{self.user}@{self.host} (pid {self.pid}) since {_clock(self.since)}, {self.verb}{at}"

    def dead(self) -> bool:
        """True only when proven: same computer, same boot, and no process with that pid and start time."""
        if not self.pid or not self.started or not self.machine or self.machine != machine():
            return False
        return _gone(self.pid) or started(self.pid) not in ("", self.started)

    def at(self, step: str) -> Owner:
        """The same owner, one step further."""
        return replace(self, step=step)

    def text(self) -> str:
        """One line of JSON, as it is kept in a lock."""
        return json.dumps(asdict(self))


def me(verb: str, run: str) -> Owner:
    """This process, with a new lock id."""
    return Owner(
        id=secrets.token_hex(6),
        user=_user(),
        host=socket.gethostname(),
        machine=machine(),
        pid=os.getpid(),
        started=started(os.getpid()),
        verb=verb,
        run=run,
        since=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def read(text: str) -> Owner:
    """The owner in a lock. An unreadable entry still is one: nobody known, never dead, id made from the text."""
    try:
        value = json.loads(text)
        fields = {name: str(value.get(name, "")) for name in Owner.__dataclass_fields__ if name != "pid"}
        known = Owner(pid=int(value["pid"]), **fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        known = None
    if known is not None and known.id and known.pid > 0:
        return known
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    unknown = dict.fromkeys(("user", "host", "started", "verb", "run", "since"), _UNKNOWN)
    return Owner(id=digest, machine="", pid=0, **unknown)


def machine() -> str:
    """Digest of what makes pids and start times comparable; "" where the kernel does not say.

    Two containers may share machine-id and boot, but not their pids: the namespaces count too.
    """
    boot = _line(_PROC / "sys/kernel/random/boot_id")
    if not boot:
        return ""
    spaces = [_link(_PROC / "self/ns" / name) for name in ("pid", "time")]
    parts = [_line(Path("/etc/machine-id")), boot, socket.gethostname(), *spaces]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def started(pid: int) -> str:
    """When the kernel started this process, in clock ticks since boot; "" when it cannot be read."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _gone(pid: int) -> bool:
    """No such process, or only a corpse that its parent has not collected yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # somebody else's, alive
    state = _stat(pid)[:1]
    if state not in (["Z"], ["X"]):
        return False
    try:  # a first thread may end before the others
        return len(list((_PROC / str(pid) / "task").iterdir())) <= 1
    except OSError:
        return False


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the third on; the second, the name, may hold blanks and brackets."""
    return _line(_PROC / str(pid) / "stat").rpartition(")")[2].split()


def _line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name
        return str(os.getuid())


def _clock(since: str) -> str:
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        return since
    today = then.date() == datetime.now(timezone.utc).date()
    return f"{then:%H:%M:%S}" if today else f"{then:%Y-%m-%d %H:%M:%S}"
