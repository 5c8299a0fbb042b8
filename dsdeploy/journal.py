"""A run's own record: intent, then action, then done; each on disk before the next.

    .dsdeploy/<site>/runs/<run>/journal.jsonl

The hosts keep a copy of what was done to them (role fence), so that another computer can go on.
A line that a crash cut short is dropped when the file is read; what it was about is observed again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dsdeploy.errors import DsdeployError

NAME = "journal.jsonl"


def now() -> str:
    """UTC with microseconds, as every record carries it."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


@dataclass
class Journal:
    """Append-only. A record that cannot be made durable raises before anything is done for it."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / NAME

    def intent(self, step: str, **detail: Any) -> None:
        self.write("intent", step=step, detail=detail)

    def done(self, step: str, **detail: Any) -> None:
        self.write("done", step=step, detail=detail)

    def write(self, kind: str, **record: Any) -> None:
        """One line, fsynced. Raises DsdeployError when the disk does not take it."""
        line = json.dumps({"kind": kind, "at": now(), **record}, default=str) + "\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = not self.path.exists()
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if not fresh and _torn(self.path):
                    line = "\n" + line
                data = line.encode()
                while data:  # a disk that fills up takes a part, and says no only to the rest
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if fresh:
                _sync(self.folder)
        except OSError as error:
            raise DsdeployError(
                f"the journal cannot be written: {error.strerror}; nothing is done that it does not record",
                str(self.path),
                f"df -h {self.folder}; then run the same command again",
            ) from error


def read(path: Path) -> list[Mapping[str, Any]]:
    """All whole records; [] for a file that is not there."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records: list[Mapping[str, Any]] = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _torn(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        if not file.tell():
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
