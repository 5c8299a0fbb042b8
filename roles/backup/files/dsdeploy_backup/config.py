"""/etc/dsdeploy/backup/config.json as a value, and where the secrets' files are. No secret is ever in it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict

from .errors import USAGE, Trouble

FILE = Path("/etc/dsdeploy/backup/config.json")


@dataclass(frozen=True)
class Config:
    """`keep` and `keep_full` count proven snapshots; `full_every` is the length of a chain; times in seconds."""

    site: str
    host: str
    repository: str
    secrets: Path
    state: Path
    sets: Path
    runs: Path
    metrics: Path
    offsite: str = ""
    append_only: bool = False
    keep: int = 14
    keep_full: int = 5
    full_every: int = 7
    slices: int = 4
    wait: float = 3600.0
    limit: float = 6 * 3600.0
    extra: Dict[str, Any] = field(default_factory=dict)

    @property
    def staging(self) -> Path:
        return self.state / "staging"

    @property
    def scratch(self) -> Path:
        return self.state / "scratch"

    @property
    def ledger(self) -> Path:
        return self.state / "ledger.jsonl"

    def secret(self, name: str) -> Path:
        """systemd's credential where a unit gave one, else the file that only root can read."""
        given = os.environ.get("CREDENTIALS_DIRECTORY")
        if given and (Path(given) / name).exists():
            return Path(given) / name
        return self.secrets / name


PATHS = ("secrets", "state", "sets", "runs", "metrics")


def load(path: Path = FILE) -> Config:
    """Raises Trouble for a file that is missing or not ours."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        known = set(Config.__dataclass_fields__)
        values: Dict[str, Any] = {
            name: Path(value) if name in PATHS else value for name, value in given.items() if name in known
        }
        return Config(**values)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        hint = "dsdeploy up SITE, with a `backup:` section in the site file"
        raise Trouble(f"no backup is configured here: {error}", str(path), hint, USAGE) from error
