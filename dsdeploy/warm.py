"""Plays that start warm: from one process of this command, which imports Ansible once (see dsdeploy.stage).

It is only a faster way to start. Where it cannot be had, plays are started one by one as ever, and the play's
log says why. It ends with the block of `kept`, and with this process, however that ends.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from os import killpg
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("stage.py")
FIRST_SECONDS = 60.0  # to import Ansible and fork, on a computer that has much else to do
END_SECONDS = 5.0
PLAYS_OWN = ("DSDEPLOY_EVENTS", "DSDEPLOY_CONTROLLER")
READ_AT_IMPORT = ("ANSIBLE_", "PYTHON", "LC_", "LANG", "HOME", "TMPDIR")  # or the first letters of it

_kept: dict[Path, Warm] = {}


class Cold(Exception):
    """The warm process did not start a play; says why."""


@contextmanager
def kept(folder: Path) -> Iterator[None]:
    """While this lasts, `start` has a warm process for plays with this folder; it is made by the first of them."""
    _kept[folder] = warm = Warm(folder)
    try:
        yield
    finally:
        del _kept[folder]
        warm.end()


def start(folder: Path, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> Playing | None:
    """Start `ansible-playbook` with these arguments (the first is its name), its output appended to the log.

    None where it must be started the plain way: nobody keeps a warm process, or that failed (the log says so once).
    """
    warm = _kept.get(folder)
    if not warm or warm.failed:
        return None
    try:
        return warm.start(argv, environment, log)
    except (Cold, OSError) as error:
        if warm.fail():
            with log.open("a", encoding="utf-8") as lines:
                lines.write(f"dsdeploy: from here on each play imports Ansible by itself: {error}{warm.words()}\n")
        return None


class Playing:
    """A play that was started warm. It is no child of ours, but can be followed like one: see subprocess.Popen."""

    def __init__(self, told: socket.socket) -> None:
        self.returncode: int | None = None
        self._told = told  # the play is ended where nobody holds this any more
        self._rest = b""
        self._lock = threading.Lock()
        if not self._ready(FIRST_SECONDS):
            raise Cold(f"no answer within {FIRST_SECONDS:.0f} s")
        first = self._line()
        if "pid" not in first:
            raise Cold(f"it ended before the play began ({first.get('status', 'no status')})")
        self.pid = int(first["pid"])

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it runs."""
        with self._lock:
            if self.returncode is None and self._ready(0):
                status = self._line().get("status")
                if status is None:  # the warm process is gone, and Ansible with it; this only makes sure of it
                    with suppress(ProcessLookupError):
                        killpg(self.pid, signal.SIGKILL)
                    status = -signal.SIGKILL
                self.returncode = int(status)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """As poll, at the end of the play. Raises subprocess.TimeoutExpired when `timeout` seconds are over."""
        if self.returncode is None:
            self._ready(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("ansible-playbook", timeout or 0)
        return code

    def _ready(self, timeout: float | None) -> bool:
        if b"\n" in self._rest:
            return True
        asked = select.poll()  # select.select knows no handle above 1023
        asked.register(self._told, select.POLLIN)
        return bool(asked.poll(None if timeout is None else timeout * 1000))

    def _line(self) -> dict[str, Any]:
        """The next line; empty where the other side is gone."""
        while b"\n" not in self._rest:
            with suppress(ConnectionResetError):
                if more := self._told.recv(4096):
                    self._rest += more
                    continue
            return {}
        line, self._rest = self._rest.split(b"\n", 1)
        return dict(json.loads(line))


class Warm:
    """The process, as this side knows it: not yet started, started, or failed."""

    def __init__(self, folder: Path) -> None:
        self.failed = False
        self._log = folder / "stage.log"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._asks: socket.socket | None = None
        self._environment: dict[str, str] = {}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> Playing | None:
        """Raises Cold or OSError when the process cannot do it; None when it is not the one for this play."""
        with self._lock:
            if self.failed:
                return None
            asks = self._asks or self._open({k: v for k, v in environment.items() if k not in PLAYS_OWN})
        without = [name for name in self._environment if name not in environment]
        other = {name: value for name, value in environment.items() if self._environment.get(name) != value}
        if any(name.startswith(READ_AT_IMPORT) for name in (*without, *other)):
            return None
        request = {"argv": list(argv), "environment": other, "without": without, "log": str(log)}
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(asks, [json.dumps(request).encode()], [theirs.fileno()])
        try:
            return Playing(ours)
        except BaseException:
            ours.close()  # ends a play that began all the same
            raise

    def _open(self, environment: dict[str, str]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(theirs.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._asks, self._environment = ours, environment
        return ours

    def fail(self) -> bool:
        """No play is started from it any more; those that run are left to end. True for the first caller."""
        with self._lock:
            first, self.failed = not self.failed, True
            return first

    def words(self) -> str:
        """The last thing the process said, with a comma; empty where it said nothing."""
        with suppress(OSError):
            if lines := self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines():
                return f", {lines[-1]}"
        return ""

    def end(self) -> None:
        """End the process, and with it what it still runs."""
        if self._asks:
            self._asks.close()
        if self._process:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
            self._process.kill()
            self._process.wait()
