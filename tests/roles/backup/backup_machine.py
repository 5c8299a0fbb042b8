"""A host in a folder, and the backup program run on it as a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).resolve().parents[3] / "roles" / "backup" / "files"
PASSWORD = "canary-0d9f3a7e-password"


@dataclass
class Machine:
    """A host in a folder: its files, its configuration, its program."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def repository(self) -> Path:
        return self.root / "repository"

    @property
    def offsite(self) -> Path:
        return self.root / "offsite"

    @property
    def state(self) -> Path:
        return self.root / "state"

    def live(self, name: str) -> Path:
        return self.root / "live" / name

    def settings(self, **more: Any) -> None:
        """Write config.json, with these settings changed or added."""
        known = json.loads(self.config.read_text()) if self.config.exists() else self.base()
        self.config.write_text(json.dumps({**known, **more}))

    def base(self) -> dict[str, Any]:
        return {
            "site": "lab", "host": "gpu1", "repository": str(self.repository), "secrets": str(self.root / "secrets"),
            "state": str(self.state), "sets": str(self.root / "sets"), "runs": str(self.root / "runs"),
            "metrics": str(self.root / "metrics" / "dsdeploy_backup.prom"), "wait": 0, "limit": 60,
        }  # fmt: skip

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "dsdeploy_backup", "--json", "--config", str(self.config), *words]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
        return {**kept, "PYTHONPATH": str(PROGRAM), "PYTHONDONTWRITEBYTECODE": "1", **more}

    def call(self, *words: str, **environment: str) -> tuple[int, dict[str, Any], str]:
        """(exit code, JSON document, what it said)."""
        done = subprocess.run(
            self.argv(*words), env=self.environment(**environment), capture_output=True, text=True, check=False
        )
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr

    def good(self, *words: str, **environment: str) -> dict[str, Any]:
        """The document of a call that must end with 0."""
        code, document, said = self.call(*words, **environment)
        assert code == 0, said
        return document

    def restic(self, *words: str, repository: Path | None = None) -> str:
        """restic itself, as an operator would use it."""
        argv = [
            "restic",
            "-r",
            str(repository or self.repository),
            "--password-file",
            str(self.root / "secrets/password"),
        ]
        return subprocess.run([*argv, "--no-cache", *words], check=True, capture_output=True, text=True).stdout

    def metrics(self) -> dict[str, float]:
        text = (self.root / "metrics" / "dsdeploy_backup.prom").read_text()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name.removeprefix("dsdeploy_backup_"): float(value) for name, _, value in lines}


def prepare(root: Path) -> Machine:
    machine = Machine(root)
    for name in ("secrets", "sets", "runs", "live", "metrics"):
        (root / name).mkdir()
    (root / "secrets" / "password").write_text(PASSWORD)
    machine.live("runs").mkdir()
    machine.live("runs").joinpath("1-up.jsonl").write_text('{"kind":"begin"}\n')
    machine.live("epoch").write_text("7 1-up\n")
    machine.live("big").write_bytes(os.urandom(300_000))
    sets = {"name": "journal", "paths": [str(machine.live("runs")), str(machine.live("epoch"))]}
    (root / "sets" / "journal.json").write_text(json.dumps(sets))
    big = {"name": "big", "paths": [str(machine.live("big"))]}
    (root / "sets" / "big.json").write_text(json.dumps(big))
    machine.settings()
    return machine
