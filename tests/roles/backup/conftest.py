"""The backup program under test, against real restic in folders of the test's own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parents[2] / "roles" / "backup" / "files"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from backup_machine import Machine, prepare  # noqa: E402


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A host with files to back up, and no backup yet."""
    if not shutil.which("restic"):
        pytest.skip("restic is not installed here (Debian package restic)")
    return prepare(tmp_path)


@pytest.fixture
def backed_up(machine: Machine) -> Machine:
    """The same with one backup."""
    machine.good("run")
    return machine
