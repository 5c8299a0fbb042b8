"""The registry of crash points: it is whole, each point is where it says, and does what it is armed to do."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from dsdeploy import journal, points
from dsdeploy.ensemble import Lock
from dsdeploy.errors import DsdeployError
from dsdeploy.job import Job
from dsdeploy.runs import Run
from dsdeploy.site import Site

from .faults import cases, results

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "dsdeploy").rglob("*.py"))


def is_job_step(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "step":
        return False
    owner = node.func.value
    return (isinstance(owner, ast.Name) and owner.id == "job") or (
        isinstance(owner, ast.Attribute) and owner.attr == "job"
    )


def texts(nodes: Iterator[ast.AST | None]) -> Iterator[str]:
    yield from (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def named(tree: ast.AST) -> Iterator[str]:
    """Step names of one module: in the call itself, or what a function's parameter `step` is given."""
    for node in ast.walk(tree):
        if is_job_step(node):
            yield from texts(iter(cast(ast.Call, node).args[:1]))
        if isinstance(node, ast.FunctionDef) and any(is_job_step(below) for below in ast.walk(node)):
            defaults = zip(reversed(node.args.args), reversed(node.args.defaults), strict=False)
            yield from texts(default for name, default in defaults if name.arg == "step")
        if isinstance(node, ast.Call):
            yield from texts(word.value for word in node.keywords if word.arg == "step")


def test_every_step_of_the_product_is_in_the_registry_and_the_other_way_round() -> None:
    used = {name for path in MODULES for name in named(ast.parse(path.read_text(encoding="utf-8")))}
    assert used == points.NAMES


def test_no_step_is_named_by_something_the_test_above_cannot_see() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if is_job_step(node):
                first = cast(ast.Call, node).args[0]
                assert isinstance(first, ast.Constant) or (isinstance(first, ast.Name) and first.id == "step"), path


def test_every_point_is_a_case_of_each_verb_or_said_to_be_unreachable() -> None:
    assert list(cases.forgotten()) == []


def test_the_registry_and_the_cases_agree_on_what_a_verb_has() -> None:
    for step in points.STEPS:
        assert step.up == ((cases.UP, step.name) not in cases.UNREACHED), step.name
        had = any(case.verb == cases.UPGRADE and case.step == step.name for case in cases.every())
        assert not had or step.upgrade, step.name


def test_a_case_names_a_point_that_exists_and_no_case_is_there_twice() -> None:
    names = [case.name for case in cases.every()]
    assert len(names) == len(set(names))
    for case in cases.every():
        step, _, phase = case.point.partition(".")
        assert step in points.NAMES and phase.partition("#")[0] in points.PHASES


def test_a_sample_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert cases.chosen("", 5, 7) == cases.chosen("", 5, 7)
    assert len(cases.chosen("", 5, 7)) == 5
    assert cases.chosen("", 5, 7) != cases.chosen("", 5, 8)
    assert {case.step for case in cases.chosen(r"switch\.", 0, 0)} == {"switch"}


@pytest.fixture
def armed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    points._reached.clear()
    yield lambda text: monkeypatch.setenv(points.VARIABLE, text)
    points._reached.clear()


def test_nothing_happens_where_nothing_is_armed(armed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(points.VARIABLE, raising=False)
    points.reach("switch.intent")
    armed("switch.action=raise")
    points.reach("switch.intent")
    points.reach("switch.during")


@pytest.mark.parametrize("point", ["swich.intent", "switch.after", "switch"])
def test_a_point_that_is_not_in_the_registry_cannot_be_reached(point: str) -> None:
    with pytest.raises(AssertionError, match="registry"):
        points.reach(point)


def test_raise_fails_the_step_and_only_once(armed: Any) -> None:
    armed("switch.action=raise")
    with pytest.raises(DsdeployError, match=r"switch\.action"):
        points.reach("switch.action")
    points.reach("switch.action")


def test_a_number_counts_how_often_the_point_is_reached(armed: Any) -> None:
    armed("switch.action#3=raise")
    points.reach("switch.action")
    points.reach("switch.intent")
    points.reach("switch.action")
    with pytest.raises(DsdeployError):
        points.reach("switch.action")


def test_sleep_waits_so_many_seconds(armed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(points, "sleep", slept.append)
    armed("begin.intent=sleep:2.5")
    points.reach("begin.intent")
    assert slept == [2.5]


def test_kill_ends_the_process_at_once() -> None:
    program = (
        "from dsdeploy import points\npoints.reach('commit.intent')\nprint('lives')\npoints.reach('commit.action')"
    )
    environment = os.environ | {points.VARIABLE: "commit.action=kill"}
    argv = [sys.executable, "-u", "-c", program]
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "lives\n")


class FreeLock:
    epoch = 1

    def step(self, name: str) -> None: ...

    def check(self) -> None: ...


def job(site: Site, folder: Path) -> Job:
    return Job(site, Run("20261122T000000-1-upgrade", folder), folder, cast(Lock, FreeLock()))


@pytest.mark.parametrize(
    ("phase", "acted", "kinds"),
    [("intent", False, ["intent"]), ("during", True, ["intent"]), ("action", True, ["intent"])],
)
def test_intent_is_on_disk_before_the_action_and_done_only_after_it(
    armed: Any, lab_site: Site, tmp_path: Path, phase: str, acted: bool, kinds: list[str]
) -> None:
    armed(f"switch.{phase}=raise")
    run, did = job(lab_site, tmp_path), []
    with pytest.raises(DsdeployError, match="was armed"), run.step("switch", "to the new release"):
        did.append(True)
        run._show({"event": "task", "role": "fence", "task": "Refuse"})
        run._show({"event": "task", "role": "router", "task": "Switch"})
    assert bool(did) is acted
    assert [record["kind"] for record in journal.read(run.journal.path)] == kinds


@pytest.mark.parametrize("step", ["begin", "commit", "end"])
def test_where_the_fence_is_the_action_its_task_is_the_middle(
    armed: Any, lab_site: Site, tmp_path: Path, step: str
) -> None:
    armed(f"{step}.during=raise")
    run = job(lab_site, tmp_path)
    with pytest.raises(DsdeployError, match="was armed"), run.step(step, "tell every host"):
        run._show({"event": "task", "role": "fence", "task": "Refuse"})


def test_a_step_that_came_to_its_end_is_recorded_as_done(lab_site: Site, tmp_path: Path) -> None:
    run = job(lab_site, tmp_path)
    with run.step("park", "put away", servers=["gpu1-blue"]):
        pass
    assert [(record["kind"], record["step"]) for record in journal.read(run.journal.path)] == [
        ("intent", "park"),
        ("done", "park"),
    ]


def test_rows_that_are_kept_are_of_cases_there_are_and_say_what_was_tested() -> None:
    rows = [json.loads(line) for line in results.SEEN.read_text().splitlines()]
    names = [row["case"] for row in rows]
    assert len(set(names)) == len(names) and set(names) <= {case.name for case in cases.every()}
    assert all(row["ok"] and row["failed"] == 0 and row["requests"] > 0 and row["commit"] for row in rows)
