"""Installing the role's programs, and the runtime's wheels before they are used."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import ModuleType

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="files have to be root's")


@needs_root
def test_programs_are_written_once_and_only_where_they_differ(programs: ModuleType, tmp_path: Path) -> None:
    files = {"a/x.py": "one\n", "a/y.py": "two\n"}
    assert programs.outdated(tmp_path, files) == ["a/x.py", "a/y.py"]
    for name, text in files.items():
        programs.put(tmp_path / name, text)
    assert programs.outdated(tmp_path, files) == []
    assert programs.outdated(tmp_path, {**files, "a/y.py": "three\n"}) == ["a/y.py"]


@needs_root
def test_a_program_others_may_write_is_put_right(programs: ModuleType, tmp_path: Path) -> None:
    programs.put(tmp_path / "x.py", "one\n")
    (tmp_path / "x.py").chmod(0o666)
    assert programs.outdated(tmp_path, {"x.py": "one\n"}) == ["x.py"]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    digest = hashlib.sha256(b"wheel").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  a-1-py3-none-any.whl\n")
    return tmp_path


def test_wheels_are_checked_before_they_are_used(runtime: ModuleType, wheels: Path) -> None:
    assert list(runtime.checked(wheels)) == ["a-1-py3-none-any.whl"]
    (wheels / "a-1-py3-none-any.whl").write_bytes(b"whe3l")
    with pytest.raises(runtime.Failed, match="wanted sha256"):
        runtime.checked(wheels)


@pytest.mark.parametrize("name", ["b-1-py3-none-any.whl", "../a-1-py3-none-any.whl", "SHA256SUMS"])
def test_a_list_that_names_anything_but_a_wheel_that_is_there_is_refused(
    runtime: ModuleType, wheels: Path, name: str
) -> None:
    (wheels / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(runtime.Failed, match="lacks"):
        runtime.checked(wheels)
