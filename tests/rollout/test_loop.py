"""The loop against a small world of dictionaries: what is moved, in which order, and what a no does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dsdeploy.decisions import Decisions
from dsdeploy.errors import Fenced, GateError, Interrupted, PlaybookFailed, PostconditionFailed, Problem
from dsdeploy.releases.strategy import Strategy
from dsdeploy.releases.view import HostView, Place, View
from dsdeploy.rollout import gates, loop, moves
from dsdeploy.rollout.target import Target
from dsdeploy.site import Colour, Site

from .conftest import NEW, OLD

ROUTERS = ("gw1", "gw2")
OTHER: dict[Colour, Colour] = {"blue": "green", "green": "blue"}


class World:
    """Two hosts with the old release in blue, two routers; `no` makes an act fail, by its words."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, Colour], str] = {("gpu1", "blue"): OLD, ("gpu2", "blue"): OLD}
        self.active: dict[tuple[str, str], Colour | None] = {(r, h): "blue" for r in ROUTERS for h in ("gpu1", "gpu2")}
        self.acts: list[str] = []
        self.no: dict[str, Exception] = {}

    def act(self, words: str) -> None:
        self.acts.append(words)
        if words in self.no:
            raise self.no.pop(words)

    def look(self, _: object = None) -> View:
        hosts = {}
        for host in ("gpu1", "gpu2"):
            places: dict[Colour, Place] = {}
            for colour in ("blue", "green"):
                running = self.runs.get((host, colour), "")
                places[colour] = Place(running or (OLD if colour == "blue" else NEW), bool(running), bool(running))
            hosts[host] = HostView(host, places, {router: self.active[router, host] for router in ROUTERS})
        return View(hosts, ROUTERS, ())

    def answers(self) -> set[str]:
        """The releases that requests reach; a request to an engine that does not run is an error."""
        return {self.runs[host, colour] for (_, host), colour in self.active.items() if colour}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    def start(job: Any, target: Target, where: dict[str, Colour], step: str = "start") -> None:
        world.act(f"{step} {target.release} {' '.join(where)}")
        world.runs.update(dict.fromkeys(where.items(), target.release))

    def switch(job: Any, router: str, target: Target, where: dict[str, Colour], old: str, step: str = "switch") -> None:
        world.act(f"{step} {router} {' '.join(where)}")
        for host, colour in where.items():
            assert world.runs.get((host, colour)) == target.release, "a colour that does not run it gets no requests"
            world.active[router, host] = colour

    def out(job: Any, host: str, old: str, step: str = "out") -> None:
        for router in ROUTERS:
            world.act(f"{step} {router} {host}")
            world.active[router, host] = None
        assert world.answers()

    def swap(job: Any, target: Target, host: str, colour: Colour) -> None:
        world.act(f"swap {host}")
        del world.runs[host, OTHER[colour]]
        world.runs[host, colour] = target.release

    def stop(job: Any, where: dict[str, Colour], step: str = "stop") -> None:
        if where:
            world.act(f"{step} {' '.join(where)}")
        for item in where.items():
            del world.runs[item]
        assert world.answers()

    def drain(job: Any, where: dict[str, Colour], past: bool = False) -> int:
        if not where:
            return 0
        world.act(f"drain {' '.join(where)}")
        return 0

    for name, function in {
        "start": start,
        "switch": switch,
        "out": out,
        "swap": swap,
        "stop": stop,
        "drain": drain,
    }.items():
        monkeypatch.setattr(moves, name, function)
    monkeypatch.setattr(moves, "park", lambda job, servers, cut=False, past=True: 0)
    monkeypatch.setattr(gates, "allow", lambda job, before, engines, release: world.act(f"gate {before}"))
    monkeypatch.setattr(gates, "soak", lambda job, title, engines, release: world.act(f"soak {title}"))
    monkeypatch.setattr(gates, "prove", lambda job, where, release, old, whole: world.act(f"prove {release} {whole}"))
    monkeypatch.setattr(moves, "look", world.look)
    monkeypatch.setattr(loop.hooks, "run", lambda job, name, **about: world.act(f"hook {name}"))
    return world


@pytest.fixture
def roll(lab_site: Site, world: World) -> Callable[..., loop.Roll]:
    def make(name: str = "side-by-side", downtime: bool = False) -> loop.Roll:
        class Step:
            def __init__(self, step: str, title: str, **_: Any) -> None:
                world.act(step)

            def __enter__(self) -> None: ...
            def __exit__(self, *_: object) -> None: ...

        job: Any = SimpleNamespace(
            site=lab_site, returning=False, decisions=None, step=Step, record=SimpleNamespace(id="run-1"),
            run=lambda *_: None, lock=SimpleNamespace(record=lambda release, run: world.act(f"record {release}")),
        )  # fmt: skip
        chosen = Strategy(name, "", (("gpu1",), ("gpu2",)), 1, (2, 2), downtime, 0, ())
        target = Target(NEW, lab_site, Decisions(release=NEW))
        return loop.Roll(job, target, OLD, chosen, lambda: Target(OLD, lab_site, Decisions(release=OLD)))

    return make


def test_side_by_side_in_order(world: World, roll: Callable[..., loop.Roll]) -> None:
    loop.forward(roll())
    moved = [act for act in world.acts if act.split()[0] in ("start", "switch", "prove", "drain", "commit", "stop")]
    assert moved == [
        f"start {NEW} gpu1 gpu2",
        "switch gw1 gpu1", "switch gw2 gpu1", f"prove {NEW} False", "drain gpu1",
        "switch gw1 gpu2", "switch gw2 gpu2", f"prove {NEW} True", "drain gpu2",
        "commit", "drain gpu1 gpu2", "stop gpu1 gpu2",
    ]  # fmt: skip
    assert world.answers() == {NEW} and set(world.runs.values()) == {NEW}
    for act in ("switch gw1 gpu1", "switch gw2 gpu1"):
        assert world.acts[world.acts.index(act) - 1] == f"gate the switch on {act.split()[1]}"


def test_in_turn_gives_up_one_host_at_a_time(world: World, roll: Callable[..., loop.Roll]) -> None:
    loop.forward(roll("in-turn"))
    assert world.answers() == {NEW} and f"start {NEW} gpu1 gpu2" not in world.acts
    assert world.acts.index("out gw1 gpu2") > world.acts.index("switch gw2 gpu1")


NOS = [
    "gate the upgrade", f"start {NEW} gpu1 gpu2", "soak before the switch", "hook pre-switch", "gate the switch on gw1",
    "switch gw1 gpu1", "gate the switch on gw2", "switch gw2 gpu1", f"prove {NEW} False", "hook post-switch",
    "drain gpu1", "soak after the switch of gpu1", "gate the next step", "switch gw1 gpu2", "switch gw2 gpu2",
    f"prove {NEW} True",
    "soak after the switch of gpu2", "gate the commit",
]  # fmt: skip


@pytest.mark.parametrize("no", NOS)
@pytest.mark.parametrize("kind", ["gate", "play"])
def test_any_no_before_the_commit_leaves_the_old_release_everywhere(
    world: World, roll: Callable[..., loop.Roll], no: str, kind: str
) -> None:
    world.no[no] = GateError("no", "here") if kind == "gate" else PlaybookFailed([Problem("no", "here")])
    with pytest.raises(GateError) as given_up:
        loop.forward(roll())
    assert world.answers() == {OLD} and set(world.runs.values()) == {OLD} and "commit" not in world.acts
    assert given_up.value.exit_code == 5
    assert given_up.value.problems[0].what == "no" and "was given up" in given_up.value.problems[-1].what


@pytest.mark.parametrize("no", ["out gw2 gpu1", "swap gpu1", "switch gw1 gpu1", "swap gpu2", "switch gw2 gpu2"])
def test_any_no_in_turn_brings_the_old_release_back(world: World, roll: Callable[..., loop.Roll], no: str) -> None:
    world.no[no] = GateError("no")
    with pytest.raises(GateError):
        loop.forward(roll("in-turn"))
    assert world.answers() == {OLD} and set(world.runs.values()) == {OLD}
    assert None not in world.active.values()


def test_a_no_before_the_first_switch_orders_no_router(world: World, roll: Callable[..., loop.Roll]) -> None:
    world.no["gate the switch on gw1"] = GateError("no quorum")
    with pytest.raises(GateError):
        loop.forward(roll())
    assert not [act for act in world.acts if act.startswith(("switch", "back"))]


@pytest.mark.parametrize("stop", [Fenced("overtaken"), Interrupted("asked")])
def test_who_was_overtaken_or_stopped_undoes_nothing(
    world: World, roll: Callable[..., loop.Roll], stop: Exception
) -> None:
    world.no["switch gw1 gpu2"] = stop
    with pytest.raises(type(stop)):
        loop.forward(roll())
    assert world.acts[-1] == "switch gw1 gpu2" and world.answers() == {OLD, NEW}


def test_a_way_back_that_fails_is_told_and_starts_no_other(world: World, roll: Callable[..., loop.Roll]) -> None:
    world.no[f"prove {NEW} False"] = GateError("the new one does not answer")
    world.no["back gw2 gpu1"] = PlaybookFailed([Problem("gw2 is gone", "host gw2")])
    made = roll()
    with pytest.raises(PostconditionFailed) as stuck:
        loop.forward(made)
    assert [act for act in world.acts if act.startswith("back")] == ["back gw1 gpu1", "back gw2 gpu1"]
    told = " ".join(problem.what for problem in stuck.value.problems)
    assert "does not answer" in told and "gw2 is gone" in told and stuck.value.exit_code == 1
    assert made.job.returning is False


def test_what_fails_after_the_commit_is_not_undone(world: World, roll: Callable[..., loop.Roll]) -> None:
    world.no["stop gpu1 gpu2"] = PlaybookFailed([Problem("no")])
    with pytest.raises(PlaybookFailed):
        loop.forward(roll())
    assert world.answers() == {NEW}


class Died(BaseException):
    """The controller, in the middle of an act."""


def die(world: World, step: int) -> Callable[[], None]:
    """Makes the act of this number kill the run; returns what brings the world back to normal."""
    real, left = world.act, iter(range(1, step))

    def act(words: str) -> None:
        if next(left, None) is None:
            raise Died
        real(words)

    world.act = act  # type: ignore[method-assign]
    return lambda: setattr(world, "act", real)


@pytest.mark.parametrize("step", range(1, 30))
def test_a_run_that_died_anywhere_is_finished_by_the_next(
    world: World, roll: Callable[..., loop.Roll], step: int
) -> None:
    back_to_life = die(world, step)
    with contextlib.suppress(Died):
        loop.forward(roll())
    assert world.answers() <= {OLD, NEW}
    back_to_life()
    loop.forward(roll())
    assert world.answers() == {NEW} and set(world.runs.values()) == {NEW}


@pytest.mark.parametrize("step", range(1, 24))
def test_or_is_taken_back(world: World, roll: Callable[..., loop.Roll], step: int) -> None:
    back_to_life = die(world, step)
    with pytest.raises(Died):
        loop.forward(roll())
    back_to_life()
    loop.back(roll(), [])
    assert world.answers() == {OLD} and set(world.runs.values()) == {OLD}


@pytest.mark.parametrize("way", ["forward", "back"])
def test_what_a_dead_run_had_not_drained_is_drained_before_it_is_stopped(
    world: World, roll: Callable[..., loop.Roll], way: str
) -> None:
    """The run died between its last switch and the wait for what the other release was still answering."""
    serves: Colour = "green" if way == "forward" else "blue"
    for host in ("gpu1", "gpu2"):
        world.runs[host, "green"] = NEW
    world.active = dict.fromkeys(world.active, serves)
    loop.forward(roll()) if way == "forward" else loop.back(roll(), [])
    ends = next(act for act in world.acts if act.startswith(("stop", "clear")))
    assert "drain gpu1 gpu2" in world.acts[: world.acts.index(ends)]
