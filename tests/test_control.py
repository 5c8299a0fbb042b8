"""Folders of SSH control sockets: gone after the command, and after one that was killed with the next."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dsdeploy import control


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def dead() -> int:
    """A process id that nobody has."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_folder_is_named_after_the_command_and_private_and_goes_with_it(root: Path) -> None:
    with control.connections() as folder:
        assert folder.parent == root and folder.name.startswith(f"dsd-{os.getpid()}-")
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "tmp").mkdir()
    assert list(root.iterdir()) == []


def test_what_a_killed_command_left_is_taken_away_by_the_next(root: Path, dead: int) -> None:
    leftover = root / f"dsd-{dead}-abc"
    (leftover / "tmp").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as master:  # of which nobody answers any more
        master.bind(str(leftover / "0123456789"))
    with control.connections() as folder:
        assert list(root.iterdir()) == [folder]


@pytest.mark.parametrize(
    "name", ["dsd-1-init", "dsd-{own}-x", "dsd-{dead}", "dsd-abc", "dsd-{dead}x-y", "other-{dead}-x"]
)
def test_what_others_use_is_left_alone(root: Path, dead: int, name: str) -> None:
    (root / name.format(own=os.getpid(), dead=dead)).mkdir()
    assert control.leftovers(root) == []


def test_a_link_or_a_file_under_such_a_name_is_left_alone(root: Path, dead: int) -> None:
    (root / "precious").mkdir()
    (root / f"dsd-{dead}-link").symlink_to(root / "precious")
    (root / f"dsd-{dead}-file").touch()
    assert control.leftovers(root) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_left_alone(root: Path, dead: int) -> None:
    (root / f"dsd-{dead}-x").mkdir()
    os.chown(root / f"dsd-{dead}-x", 12345, 12345)
    assert control.leftovers(root) == []
