"""The backup program under test, against real restic in folders of the test's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parents[2] / "roles" / "backup" / "files"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from backup_machine import PASSWORD, Machine, prepare  # noqa: E402
from cheap_key import cheapen  # noqa: E402


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty repository whose password costs no time."""
    if not shutil.which("restic"):
        pytest.skip("restic is not installed here (Debian package restic)")
    folder = tmp_path_factory.mktemp("restic")
    password = folder / "password"
    password.write_text(PASSWORD)
    made = folder / "repository"
    subprocess.run(["restic", "-q", "-r", str(made), "--password-file", str(password), "init"], check=True)
    cheapen(made, PASSWORD)
    return made


@pytest.fixture
def bare(tmp_path: Path, repository: Path) -> Machine:
    """A host with files to back up that has never made a backup: not even a repository."""
    return prepare(tmp_path)


@pytest.fixture
def machine(bare: Machine, repository: Path) -> Machine:
    """A host with files to back up, and no backup yet."""
    shutil.copytree(repository, bare.repository)
    return bare


@pytest.fixture
def backed_up(machine: Machine) -> Machine:
    """The same with one backup."""
    machine.good("run")
    return machine
