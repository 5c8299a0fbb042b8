"""What a lab has made on the operator's disk, so that `lab down` takes exactly that away again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from dsdeploy.lab.image import Step

FILE = "lab.json"


@dataclass
class Record:
    """`engine`: podman or docker. `made`: files that were not there before. `prepared`: id -> host key."""

    engine: str = "podman"
    made: list[str] = field(default_factory=list)
    mirror_token: str = ""
    prepared: dict[str, str] = field(default_factory=dict)


def load(work: Path) -> Record:
    """The record, or an empty one: an unreadable record only means that files are left alone."""
    try:
        return Record(**json.loads((work / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return Record()


def save(work: Path, record: Record) -> None:
    """Written whole or not at all."""
    fresh = work / f"{FILE}.new"
    fresh.write_text(json.dumps(asdict(record), indent=2) + "\n")
    fresh.replace(work / FILE)


@contextmanager
def alone(cache: Path, step: Step) -> Iterator[None]:
    """One lab command at a time on this computer: images and addresses are everybody's."""
    descriptor = os.open(cache / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            with step("another lab command is running; waiting for it"):
                flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)
