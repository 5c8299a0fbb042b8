"""The only place that starts restic. Secrets go in as files; argv and environment carry their paths at most."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .errors import Trouble

PROGRAM = "restic"
TAIL = 2


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
            raise Trouble(f"restic cannot be started: {error.strerror}", PROGRAM, "apt-get install restic") from error
        try:
            said, wrong = child.communicate(timeout=limit or self.limit)
        except BaseException as stopped:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            if isinstance(stopped, subprocess.TimeoutExpired):
                hint = "its server is slow or stuck; what was sent is kept, the next run goes on from there"
                raise Trouble(
                    f"restic {words[0]} took longer than {limit or self.limit:.0f} s", self.at, hint
                ) from None
            raise
        return child.returncode, said, wrong

    def trouble(self, words: Sequence[str], code: int, said: str, wrong: str) -> Trouble:
        """restic's last words as ours, with a hint for the common ones."""
        lines = (wrong or said).strip().splitlines()
        telling = [line for line in lines if line.startswith(("Fatal", "ignoring error", "error", "Save(", "Load("))]
        text = "\n".join((telling or lines)[:TAIL])[:600]
        low = text.lower()
        hint = "see what is named above; restic's own words are in the journal of dsdeploy-backup.service"
        if "wrong password" in low or "no key found" in low:
            hint = f"{self.password} does not hold the password that this repository was made with; put that back"
        elif "no space left" in low or "disk quota" in low:
            hint = "free some space there; nothing that was proven is lost"
        elif any(w in low for w in ("connection refused", "no route", "timed out", "no such host", "broken pipe",
                                    "unable to start the sftp", "eof")):  # fmt: skip
            hint = "see that its server is up and can be reached from this host"
        return Trouble(f"restic {words[0]} ended with {code}: {text}", self.at, hint)

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
