"""The engine as a child: its lines read and passed on, its growth measured, its end waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Set

_LONGEST = 1 << 16


class Child:
    """Started at once, in a process group of its own. `heard` is called with each line, in another thread."""

    def __init__(self, argv: List[str], environment: Mapping[str, str], heard: Callable[[str], None],
                 user: Optional[Any] = None) -> None:  # fmt: skip
        self._heard = heard

        def become() -> None:
            os.setsid()
            if user is not None:
                os.initgroups(user.pw_name, user.pw_gid)
                os.setgid(user.pw_gid)
                os.setuid(user.pw_uid)

        self.process = subprocess.Popen(
            argv, env={**_inherited(), **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, preexec_fn=become, cwd="/",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        descriptor, rest = self.process.stdout.fileno(), b""
        while True:
            data = os.read(descriptor, _LONGEST)
            if not data:
                break
            rest += data.replace(b"\r", b"\n")  # progress bars end their lines so
            *lines, rest = rest.split(b"\n")
            if len(rest) > _LONGEST:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._say(line)
        self._say(rest)

    def _say(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            print(text, flush=True)
            self._heard(text)

    def ended(self) -> Optional[int]:
        """Exit code, None while it runs."""
        return self.process.poll()

    def stop(self, seconds: float) -> None:
        """TERM, and after so many seconds KILL, to all of its group."""
        for number, wait in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10.0)):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(wait)
                break
            except subprocess.TimeoutExpired:
                print(f"still there {wait:.0f} s after signal {number.name}", file=sys.stderr, flush=True)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # what it left behind
        except ProcessLookupError:
            pass
        self._reader.join(5)

    def growth(self, folder: Path) -> Dict[str, int]:
        """Bytes its processes have read and written, by process, and bytes in a folder that it fills."""
        found = {"cache": size(folder)}
        for process in family(self.process.pid):
            try:
                text = Path(f"/proc/{process}/io").read_text()
            except OSError:
                continue
            values = dict(line.split(": ") for line in text.splitlines())
            # read_bytes too: what is mapped into memory is read without a call
            found[f"process {process}"] = sum(int(values.get(name, 0)) for name in ("rchar", "wchar", "read_bytes"))
        return found


def _inherited() -> Dict[str, str]:
    """From systemd and the host: where programs are, and what NCCL may use of the fabric; no secret of ours."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
    starts = ("NCCL_", "GLOO_", "UCX_", "NVSHMEM_")
    chosen = {name: value for name, value in os.environ.items() if name in kept or name.startswith(starts)}
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1", **chosen}


def family(root: int) -> Set[int]:
    """A process and all below it."""
    parents: Dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    found = {root}
    while True:
        more = {process for process, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def size(folder: Path) -> int:
    """Bytes in all files below a folder."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except OSError:
                continue
    return total
