"""Folders with owner and mode: made, corrected, and never in place of something else."""

from __future__ import annotations

import grp
import importlib.util
import os
import pwd
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "roles" / "host" / "library" / "layout.py"
OWNER, GROUP = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("layout", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


layout = load()


def folder(path: Path, mode: str = "0755") -> dict[str, str]:
    return {"path": str(path), "owner": OWNER, "group": GROUP, "mode": mode}


def test_a_missing_folder_is_made_and_then_is_as_wanted(tmp_path: Path) -> None:
    entry = folder(tmp_path / "a" / "b", "0700")
    assert layout.current(entry["path"]) is None
    layout.settle(entry)
    assert layout.current(entry["path"]) == layout.wanted(entry, check=False) == f"0700 {OWNER}:{GROUP}"


def test_a_mode_is_corrected_whatever_the_umask(tmp_path: Path) -> None:
    entry = folder(tmp_path / "a")
    (tmp_path / "a").mkdir(mode=0o700)
    layout.settle(entry)
    assert layout.current(entry["path"]) == f"0755 {OWNER}:{GROUP}"


def test_a_symbolic_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path)
    with pytest.raises(layout.Refused, match="symbolic link"):
        layout.current(str(tmp_path / "a"))


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(layout.Refused, match="is a file"):
        layout.current(str(tmp_path / "a"))


def test_an_unknown_owner_is_refused_except_where_nothing_is_made(tmp_path: Path) -> None:
    entry = {**folder(tmp_path / "a"), "owner": "nobody-of-that-name"}
    with pytest.raises(layout.Refused, match="no such account"):
        layout.wanted(entry, check=False)
    assert layout.wanted(entry, check=True).startswith("0755 nobody-of-that-name")
