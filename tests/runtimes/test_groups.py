"""Hosts that are one engine are one thing to everybody above them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dsdeploy import inventory, observe
from dsdeploy.decisions import Decisions
from dsdeploy.facts import EngineState
from dsdeploy.job import Job
from dsdeploy.releases.view import view
from dsdeploy.rollout import moves
from dsdeploy.rollout.target import Target
from dsdeploy.runtimes import groups
from dsdeploy.site import Site

DATA = {
    "site": "s", "stack": "cuda13", "model": {"name": "deepseek-r1", "version": "v1", "source": "/w"},
    "hosts": {
        "gw": {"address": "10.0.0.1", "roles": ["router", "zookeeper"]},
        **{name: {"address": f"10.0.0.{number}", "roles": ["engine"]} for number, name in
           enumerate(("a1", "a2", "b1", "b2"), 11)},
    },
    "engine": {"runtime": "vllm", "precision": "fp8", "nodes": 2, "tensor_parallel": 16},
}  # fmt: skip
TWO = Site.model_validate(DATA)
ONE = Site.model_validate(DATA | {"engine": {"runtime": "vllm", "precision": "fp8", "tensor_parallel": 8}})


def test_hosts_are_taken_in_file_order() -> None:
    assert [group.hosts for group in groups.groups(TWO)] == [("a1", "a2"), ("b1", "b2")]
    assert groups.heads(TWO) == ("a1", "b1") and groups.heads(ONE) == ("a1", "a2", "b1", "b2")
    assert groups.group(TWO, "b2").head == "b1"
    with pytest.raises(KeyError):
        groups.group(TWO, "gw")


def test_one_host_stands_for_its_group() -> None:
    assert groups.whole(TWO, ["b2"]) == ("b1", "b2") and groups.whole(ONE, ["b2"]) == ("b2",)
    assert groups.spread(TWO, {"b1": "green"}) == {"b1": "green", "b2": "green"}
    assert groups.spread(TWO, {"a1": "blue", "a2": "green"}) == {"a1": "blue", "a2": "blue"}
    assert groups.spread(ONE, {"a2": "green"}) == {"a2": "green"}


def test_routers_know_heads_only_and_each_host_knows_its_rank() -> None:
    decided = Decisions(release="r", colours=dict.fromkeys(("a1", "a2", "b1", "b2"), "blue"))
    assert {server["host"] for server in inventory.router_engines(TWO, decided)} == {"a1", "b1"}
    told = {name: inventory.host_vars(TWO, name, decided) for name in ("a1", "a2", "b2")}
    assert [(told[name]["engine_rank"], told[name]["engine_head"]) for name in told] == [
        (0, "10.0.0.11"), (1, "10.0.0.11"), (1, "10.0.0.13"),
    ]  # fmt: skip
    assert "engine_rank" not in inventory.host_vars(ONE, "a1", decided)


def test_the_rollout_sees_one_engine_where_there_are_two_hosts() -> None:
    assert tuple(view(TWO, {}).hosts) == ("a1", "b1")


def test_a_limit_that_names_one_host_of_a_group_means_the_group() -> None:
    job = Job(TWO, None, None, None, limit=("b2", "gw"))  # type: ignore[arg-type]
    assert job.targets("engine") == ("b1", "b2") and job.targets("router") == ("gw",)


def test_a_group_is_started_stopped_and_swapped_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plays: list[tuple[str, tuple[str, ...], dict[str, str]]] = []

    class Step:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    def run(self: Job, name: str, limit: tuple[str, ...], decisions: Decisions, **more: object) -> None:
        plays.append((name, limit, dict(decisions.colours)))

    monkeypatch.setattr(Job, "step", lambda self, *_, **__: Step())
    monkeypatch.setattr(Job, "run", run)
    job = Job(TWO, None, None, None)  # type: ignore[arg-type]
    target = Target("r2", TWO, Decisions(release="r2"))
    moves.start(job, target, {"b1": "green"})
    moves.stop(job, {"b1": "blue"})
    moves.swap(job, target, "a1", "green")
    assert plays == [
        ("engine", ("b1", "b2"), {"b1": "green", "b2": "green"}),
        ("stop", ("b1", "b2"), {"b1": "blue", "b2": "blue"}),
        ("stop", ("a1", "a2"), {"a1": "blue", "a2": "blue"}),
        ("engine", ("a1", "a2"), {"a1": "green", "a2": "green"}),
    ]


def test_a_host_that_answers_nobody_is_well_while_its_unit_runs() -> None:
    state = EngineState("blue", "r", "r", "active", 8101, "down", None)
    assert observe._engine_problems(observe._silent(state)) == []
    assert observe._engine_problems(observe._silent(replace(state, unit="failed"))) != []
    assert observe._engine_problems(state) != []
