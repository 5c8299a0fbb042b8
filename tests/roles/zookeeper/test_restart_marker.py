"""The marker is there exactly while the running service knows other files than those on disk."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "roles" / "zookeeper" / "library" / "restart_marker.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("restart_marker", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


marker = load()


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """A service that was started with zoo.cfg and unit as they are."""
    lines = []
    for name in ("zoo.cfg", "unit"):
        (tmp_path / name).write_text(f"{name} 1\n")
        lines.append(f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {tmp_path / name}\n")
    (tmp_path / "started-with").write_text("".join(lines))
    return tmp_path


def differs(folder: Path, *more: str) -> list[str]:
    files = [str(folder / name) for name in ("zoo.cfg", "unit", *more)]
    return [Path(path).name for path in marker.differs(str(folder / "started-with"), files)]


def test_nothing_differs_after_a_start(started: Path) -> None:
    assert differs(started) == []


def test_a_changed_file_is_named_and_taking_it_back_ends_it(started: Path) -> None:
    (started / "zoo.cfg").write_text("tickTime=1\n")
    assert differs(started) == ["zoo.cfg"]
    (started / "zoo.cfg").write_text("zoo.cfg 1\n")
    assert differs(started) == []


def test_a_file_that_is_new_or_gone_counts(started: Path) -> None:
    (started / "logback.xml").write_text("<configuration/>")
    (started / "unit").unlink()
    assert differs(started, "logback.xml") == ["logback.xml", "unit"]


def test_a_file_no_longer_watched_counts_once_it_changed(started: Path) -> None:
    (started / "unit").write_text("unit 2\n")
    assert [Path(p).name for p in marker.differs(str(started / "started-with"), [str(started / "zoo.cfg")])] == ["unit"]


def test_a_stopped_service_needs_no_restart(started: Path) -> None:
    (started / "started-with").unlink()
    (started / "zoo.cfg").write_text("tickTime=1\n")
    assert differs(started) == []


def test_the_marker_is_written_whole_and_readable_and_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "zookeeper.restart-needed"
    marker.settle(str(path), "/etc/zookeeper/zoo.cfg\n")
    assert path.read_text() == "/etc/zookeeper/zoo.cfg\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]
    marker.settle(str(path), None)
    assert marker.content(str(path)) is None
