"""What the module writes is what the facts read, by the very commands that hosts are sent."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsdeploy import facts
from dsdeploy.facts import script

SOURCE = Path(__file__).resolve().parents[3] / "roles" / "fence" / "library" / "fence.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fence", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fence = load()


def enter(state: Path, epoch: int, run: str, record: dict[str, Any]) -> None:
    header = {"kind": "begin", "run": run, "epoch": epoch}
    fence.enter(str(state), fence.This("gpu1", epoch, run, ""), header, record)


def read(kind: type[Any], place: str, here: Path) -> Any:
    """The fact as a host whose `place` is the folder `here` would tell it."""
    fact = facts.reader(kind)
    text = script.build([fact.command().replace(place, str(here))], "m4rk")
    done = subprocess.run(["sh", "-c", text], capture_output=True, check=False)
    (lines,) = script.split(done.stdout, "m4rk", 1)
    assert lines is not None
    return fact.process(lines)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_the_epoch_is_read_back(state: Path) -> None:
    assert read(facts.Epoch, "/var/lib/dsdeploy", state) == facts.Epoch(0, "")
    enter(state, 43, "20261122T051500-811-upgrade", {})
    assert read(facts.Epoch, "/var/lib/dsdeploy", state) == facts.Epoch(43, "20261122T051500-811-upgrade")


def test_runs_are_read_back_newest_last_and_steps_of_two(state: Path) -> None:
    assert read(facts.Runs, "/var/lib/dsdeploy", state) == ()
    for epoch, run in enumerate(("c", "b", "a"), start=1):
        enter(state, epoch, run, {"kind": "step", "epoch": epoch, "step": "prep"})
        enter(state, epoch, run, {"kind": "end", "epoch": epoch, "outcome": "done"})
    found = read(facts.Runs, "/var/lib/dsdeploy", state)
    assert [(run.run, run.epoch, len(run.steps), run.ended) for run in found] == [
        ("c", 1, 0, True), ("b", 2, 1, True), ("a", 3, 1, True),
    ]  # fmt: skip
    assert found[0].begin == {"kind": "begin", "run": "c", "epoch": 1}


def test_fifty_runs_of_any_size_fit_into_one_answer(state: Path) -> None:
    for epoch in range(1, 52):
        enter(state, epoch, f"r{epoch:02}", {"kind": "step", "epoch": epoch, "detail": {"x": "y" * 3000}})
    (state / "runs" / "r51.jsonl").open("a").write("\0" * 3_000_000)
    found = read(facts.Runs, "/var/lib/dsdeploy", state)
    assert [run.run for run in found] == [f"r{epoch:02}" for epoch in range(2, 52)]


def test_releases_are_what_can_be_followed(tmp_path: Path) -> None:
    for name in ("v1-a", "v2-b", "v3-c.partial"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    here = tmp_path / "releases" / "v1-a"
    (here / "manifest.json").write_text('{\n "version": "v1"\n}\n')
    (here / "engine.json").write_text('{"schema": 1}\n')
    (tmp_path / "build").mkdir()
    (here / "build").symlink_to(tmp_path / "build")
    (here / "weights").symlink_to(tmp_path / "gone")
    found = read(facts.Releases, "/srv/dsdeploy", tmp_path)
    assert set(found) == {"v1-a", "v2-b"}
    whole = found["v1-a"]
    assert (whole.manifest, whole.settings) == ({"version": "v1"}, {"schema": 1})
    assert (whole.build, whole.runtime, whole.weights, whole.startable) == (True, False, False, False)


@pytest.mark.parametrize(
    ("program", "error"),
    [
        (None, "the router's program is not installed"),
        ('import sys; print(\'{"failed": "no"}\'); sys.exit(1)', "no"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    ],
)
def test_a_router_without_a_picture_says_why(tmp_path: Path, program: str | None, error: str) -> None:
    if program:
        (tmp_path / "dsdeploy_router.py").write_text(program)
    assert read(facts.Rotation, "/usr/local/lib/dsdeploy/router", tmp_path) == facts.Rotation(False, error=error)
