"""The module that installs the program: exactly these files, whole, nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

LIBRARY = Path(__file__).resolve().parents[3] / "roles" / "weights" / "library" / "weights_program.py"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("weights_program", LIBRARY)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


FILES = {"a.py": "a = 1\n", "b.py": ""}


def test_install_then_nothing_to_do(module: ModuleType, tmp_path: Path) -> None:
    root = tmp_path / "one" / "two"
    assert module.differing(root, FILES) == ["a.py", "b.py"] and module.strays(root, FILES) == []
    module.make(root)
    for name, text in FILES.items():
        module.write(root / name, text)
    assert module.differing(root, FILES) == [] and module.strays(root, FILES) == []
    assert root.parent.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("harm", ["content", "mode", "link", "gone"])
def test_harm_is_seen_and_put_right(module: ModuleType, tmp_path: Path, harm: str) -> None:
    module.write(tmp_path / "a.py", "a = 1\n")
    path = tmp_path / "a.py"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("a = 1\n")
    if harm == "content":
        path.write_text("import os\n")
    elif harm == "mode":
        path.chmod(0o666)
    else:
        path.unlink()
        if harm == "link":
            path.symlink_to(elsewhere)
    assert module.differing(tmp_path, {"a.py": "a = 1\n"}) == ["a.py"]
    module.write(path, "a = 1\n")
    assert module.differing(tmp_path, {"a.py": "a = 1\n"}) == [] and elsewhere.read_text() == "a = 1\n"


def test_a_module_of_an_older_release_goes(module: ModuleType, tmp_path: Path) -> None:
    module.write(tmp_path / "old.py", "")
    (tmp_path / "__pycache__").mkdir()
    assert module.strays(tmp_path, FILES) == ["old.py"]
