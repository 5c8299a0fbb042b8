"""The only place that starts restic. Secrets go in as files; argv and environment carry their paths at most."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type

from .errors import Hindered, NoRoom, Trouble

PROGRAM = "restic"
TAIL = 2
FULL = ("no space left", "disk quota")
AWAY = ("connection refused", "no route", "timed out", "no such host", "broken pipe", "unable to start the sftp")
# also not the fault of what is stored: the password, another restic at work, this host's own limits
AROUND = ("wrong password", "no key found", "already locked", "cannot allocate memory", "too many open files",
          "read-only file system")  # fmt: skip


@dataclass(frozen=True)
class Repository:
    """`options` and `environment` are what reaching it needs. `hold` is a descriptor that a child keeps open, so
    that the host's lock is held as long as any restic of ours lives, also one whose parent was killed."""

    address: str
    password: Path
    cache: Optional[Path] = None
    options: Tuple[str, ...] = ()
    environment: Dict[str, str] = field(default_factory=dict)
    limit: float = 6 * 3600.0
    hold: Optional[int] = None
    at: str = "the local repository"

    def run(self, *words: str, cwd: Optional[Path] = None, limit: Optional[float] = None) -> str:
        """What restic prints. Raises Trouble in its own words, or when it takes longer than `limit` seconds."""
        code, said, wrong = self.call(words, cwd, limit)
        if code != 0:
            raise self.trouble(words, code, said, wrong)
        return said

    def call(
        self, words: Sequence[str], cwd: Optional[Path] = None, limit: Optional[float] = None
    ) -> Tuple[int, str, str]:
        """(exit code, stdout, stderr)."""
        argv = [PROGRAM, "-r", self.address, "--password-file", str(self.password), *self.options]
        argv += ["--cache-dir", str(self.cache)] if self.cache else ["--no-cache"]
        environment = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "HOME": "/nonexistent"}
        try:
            child = subprocess.Popen(
                [*argv, *words],
                cwd=str(cwd) if cwd else "/",
                env={**environment, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
                pass_fds=() if self.hold is None else (self.hold,),
            )
        except OSError as error:
            raise Hindered(f"restic cannot be started: {error.strerror}", PROGRAM, "apt-get install restic") from error
        try:
            said, wrong = child.communicate(timeout=limit or self.limit)
        except BaseException as stopped:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            if isinstance(stopped, subprocess.TimeoutExpired):
                hint = "its server is slow or stuck; what was sent is kept, the next run goes on from there"
                raise Hindered(
                    f"restic {words[0]} took longer than {limit or self.limit:.0f} s", self.at, hint
                ) from None
            raise
        return child.returncode, said, wrong

    def trouble(self, words: Sequence[str], code: int, said: str, wrong: str) -> Trouble:
        """restic's last words as ours, with a hint for the common ones: Hindered where they say nothing of what is
        stored, NoRoom where a disk is full."""
        lines = (wrong or said).strip().splitlines()
        telling = [line for line in lines if line.startswith(("Fatal", "ignoring error", "error", "Save(", "Load("))]
        text = "\n".join((telling or lines)[:TAIL])[:600]
        low = text.lower()
        hint = "see what is named above; restic's own words are in the journal of dsdeploy-backup.service"
        if "wrong password" in low or "no key found" in low:
            hint = f"{self.password} does not hold the password that this repository was made with; put that back"
        elif any(word in low for word in FULL):
            hint = "free some space there; nothing that was proven is lost"
        elif any(word in low for word in (*AWAY, "eof")):
            hint = "see that its server is up and can be reached from this host"
        if code < 0 or code > 128:
            text = f"it was killed (signal {-code if code < 0 else code - 128}) {text}".rstrip()
        return _kind(code, f"{said}\n{wrong}".lower())(f"restic {words[0]} ended with {code}: {text}", self.at, hint)

    def exists(self) -> bool:
        """Whether there is a repository that our password opens. Raises Trouble when nobody can tell."""
        code, said, wrong = self.call(("cat", "config"))
        text = wrong.lower()
        if code == 0:
            return True
        if any(words in text for words in ("does not exist", "no such file")):
            return False
        raise self.trouble(("cat",), code, said, wrong)

    def snapshots(self) -> List[Dict[str, Any]]:
        """All snapshots, as restic tells them. Raises Trouble."""
        found = json.loads(self.run("snapshots", "--json") or "[]")
        return [one for one in found or [] if isinstance(one, dict)]


def _kind(code: int, text: str) -> Type[Trouble]:
    """An end of file is not among them: a pack that was cut short says the same as a server that hung up."""
    if any(word in text for word in FULL):
        return NoRoom
    return Hindered if code < 0 or code > 128 or any(word in text for word in AWAY + AROUND) else Trouble
