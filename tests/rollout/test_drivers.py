"""Stacks on engine hosts against a small world: which host is touched when, and what it must prove."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dsdeploy import hosts, rolling, site
from dsdeploy.decisions import Decisions
from dsdeploy.errors import GateError, PlaybookFailed, PostconditionFailed, PreflightError, Problem
from dsdeploy.facts import (
    BusGpus,
    DriverModule,
    Engines,
    EngineState,
    Gpu,
    Gpus,
    NvSwitch,
    Os,
    SecureBoot,
    Srvr,
    StackState,
)  # fmt: skip
from dsdeploy.hosts import Reading
from dsdeploy.quorum import Quorum
from dsdeploy.releases.view import HostView, Place, View
from dsdeploy.rollout import drivers, gates, moves
from dsdeploy.rollout.asked import Asked
from dsdeploy.runtimes.groups import heads, whole
from dsdeploy.stacks import work

ROOT = Path(__file__).resolve().parents[2]
NOBLE = Os("ubuntu", "24.04", "debian", "x86_64", "6.8.0-41-generic", "2.39", "3.12.3", 192)
OLD, GPUS = "580.95.05", ("h200a", "h200b")


class World:
    """Two machines: what each has on disk and in memory, which boot it is, what serves, and what was done."""

    def __init__(self) -> None:
        loaded = site.load(ROOT / "inventory" / "two-node-h200" / "site.yml")
        alone = {"nodes": 1, "pipeline_parallel": 1}  # two machines that each compute by themselves
        small = loaded.model.model_copy(update={"name": "deepseek-r1-distill-llama-70b"})
        self.site = loaded.model_copy(update={"engine": loaded.engine.model_copy(update=alone), "model": small})
        self.order: dict[str, Any] = {}
        self.disk, self.memory = dict.fromkeys(GPUS, ""), dict.fromkeys(GPUS, "")
        self.digest, self.boots = dict.fromkeys(GPUS, ""), dict.fromkeys(GPUS, 0)
        self.serving: set[str] = set()
        self.members_up = True
        self.acts: list[str] = []
        self.stuck: set[str] = set()
        self.routers: tuple[str, ...] = ("gw1",)
        self.impossible = self.silent = False
        self.packages = dict.fromkeys(GPUS, "")

    def serves(self, driver: str = OLD) -> None:
        """Both hosts answer requests with this driver, put there by an earlier order."""
        self.disk, self.memory = dict.fromkeys(GPUS, driver), dict.fromkeys(GPUS, driver)
        self.digest, self.serving = dict.fromkeys(GPUS, "0" * 16), set(GPUS)

    def read(self, _: object, *kinds: type, names: Sequence[str] | None = None, **__: Any) -> dict[str, Reading]:
        if kinds == (Srvr,):
            return {}
        return {host: self.reading(host) for host in names or () if host in GPUS}

    def reading(self, host: str) -> Reading:
        card = Gpu(0, "NVIDIA H200", "GPU-0", 143771 * 2**20, 0, self.memory[host])
        fits = not self.silent and self.memory[host] and self.memory[host] == self.disk[host]
        running = {"blue": EngineState("blue", "r1", "r1", "active", 8101, "ok")} if host in self.serving else {}
        boot = f"5c3b2a6e-6f0a-4c1e-9d4e-0b1f0a4c9e{self.boots[host]:02d}"
        values = (
            NOBLE, NvSwitch(4, 8), BusGpus([0x2335]), SecureBoot(False, "bios"), Gpus([card] * 8 if fits else []),
            DriverModule(self.memory[host], "open" if self.memory[host] else "", self.disk[host]),
            StackState(self.digest[host], self.disk[host], self.disk[host], boot, packages=self.packages[host]),
            Engines(running),
        )  # fmt: skip
        return Reading(host, True, values={type(value): value for value in values})

    def play(self, name: str, limit: Sequence[str], decisions: Decisions) -> None:
        for host in limit:
            told = decisions.stacks[host]
            if name == "rehearse":
                assert host in self.serving, "a host that serves nothing needs no rehearsal: the role has its own"
                if self.impossible:
                    raise PlaybookFailed([Problem("kernel-devel cannot be had", f"host {host}")])
                continue
            if name == "stack":
                other = self.packages[host] != told["packages_digest"]
                assert not (other and host in self.serving), f"packages on {host}, where an engine runs"
                self.disk[host], self.digest[host] = str(told["driver"]), str(told["digest"])
                self.packages[host] = str(told["packages_digest"])
                continue
            assert host not in self.serving, f"{name} on {host}, where an engine runs"
            if host not in self.stuck:
                self.memory[host], self.boots[host] = self.disk[host], self.boots[host] + 1
        self.acts.append(f"{name} {' '.join(limit)}")

    def look(self, _: object = None) -> View:
        places: Callable[[str], Any] = lambda h: {  # noqa: E731
            "blue": Place("r1", h in self.serving, h in self.serving), "green": Place()}  # fmt: skip
        active: Callable[[str], Any] = lambda h: dict.fromkeys(  # noqa: E731
            self.routers, "blue" if h in self.serving else None)  # fmt: skip
        return View({host: HostView(host, places(host), active(host)) for host in heads(self.site)}, self.routers, ())

    @property
    def job(self) -> Any:
        @contextlib.contextmanager
        def step(*_: Any, **__: Any) -> Iterator[None]:
            yield

        return SimpleNamespace(
            site=self.site, decisions=Decisions(), targets=lambda role: GPUS, step=step, run=self.play
        )


def quorum(serving: tuple[str, ...]) -> Quorum:
    return Quorum(True, serving[-1], serving, ("gw1", *GPUS), 2, "", {})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    def stop(job: Any, where: dict[str, str], step: str = "stop") -> None:
        world.acts.append(f"stop {' '.join(where)}")
        world.serving -= set(whole(world.site, where))
        assert world.serving or world.site.engine.nodes > 1, "nobody answers requests any more"

    def start(job: Any, target: Any, where: dict[str, str], step: str = "start") -> None:
        world.acts.append(f"start {' '.join(where)}")
        world.serving |= set(whole(world.site, where))

    def noted(words: str) -> Callable[..., Any]:
        return lambda *args, **__: world.acts.append(words)

    monkeypatch.setattr(hosts, "read", world.read)
    for name, function in {"look": world.look, "stop": stop, "start": start, "out": noted("out"),
                           "drain": noted("drain"), "switch": noted("switch")}.items():  # fmt: skip
        monkeypatch.setattr(moves, name, function)
    monkeypatch.setattr(gates, "allow", noted("gate"))
    monkeypatch.setattr(gates, "prove", noted("prove"))
    monkeypatch.setattr(drivers, "from_hosts", lambda *_: None)
    names = ("gw1", *GPUS)
    monkeypatch.setattr(rolling, "patient", lambda site: None)
    monkeypatch.setattr(rolling, "verdict", lambda *_: quorum(names if world.members_up else names[1:]))
    return world


def test_hosts_of_one_engine_are_drained_and_changed_together(world: World) -> None:
    pair = world.site.engine.model_copy(update={"nodes": 2})
    world.site = world.site.model_copy(update={"engine": pair})
    world.serves("580.65.06")
    with pytest.raises(GateError, match="without downtime"):
        drivers.bring(world.job, Asked())
    assert world.acts == []
    drivers.bring(world.job, Asked(allow_downtime=True))
    assert world.acts == [
        "rehearse h200a h200b", "gate", "out", "drain", "stop h200a", "stack h200a h200b", "restart h200a",
        "restart h200b", "start h200a", "switch", "switch", "prove",
    ]  # fmt: skip
    assert world.memory == world.disk


def test_bare_hosts_get_the_stack_at_once_and_members_restart_one_by_one(world: World) -> None:
    drivers.bring(world.job, Asked())
    assert world.acts == ["stack h200a h200b", "restart h200a", "restart h200b"]
    assert world.memory == world.disk and set(world.boots.values()) == {1}
    world.acts.clear()
    drivers.bring(world.job, Asked())
    assert world.acts == [], "a second run does nothing, and restarts nobody"


def test_a_site_without_gpus_costs_not_even_a_reading(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.site = world.site.model_copy(update={"stack": "cpu"})
    monkeypatch.setattr(hosts, "read", lambda *_, **__: pytest.fail("asked hosts"))
    drivers.bring(world.job, Asked())
    assert world.acts == []


def test_hosts_that_serve_are_drained_changed_and_brought_back_one_by_one(world: World) -> None:
    world.serves()
    drivers.bring(world.job, Asked())
    one = [
        "rehearse {0}",
        "gate",
        "out",
        "drain",
        "stop {0}",
        "stack {0}",
        "restart {0}",
        "start {0}",
        "switch",
        "switch",
        "prove",
    ]
    assert world.acts == [act.format(host) for host in GPUS for act in one]
    assert world.serving == set(GPUS)


def test_a_host_that_serves_is_not_drained_for_packages_it_cannot_have(world: World) -> None:
    world.serves()
    world.impossible = True
    with pytest.raises(PlaybookFailed, match="kernel-devel"):
        drivers.bring(world.job, Asked())
    assert world.acts == [] and world.serving == set(GPUS)


def test_a_member_the_ensemble_cannot_spare_is_not_drained_for_a_restart_it_cannot_have(world: World) -> None:
    world.serves()
    world.members_up = False
    with pytest.raises(GateError, match="would not survive"):
        drivers.bring(world.job, Asked())
    assert world.acts == [] and world.serving == set(GPUS)


def test_another_mirror_reaches_hosts_that_serve_without_a_drain(world: World) -> None:
    world.serves("580.178.04")
    for host, one in work.work(world.site, world.read(None, names=GPUS)).items():
        world.packages[host], world.digest[host] = one.order["packages_digest"], one.order["digest"]
    packages = world.site.packages.model_copy(update={"mirror": "http://192.0.2.9/"})
    world.site = world.site.model_copy(update={"packages": packages})
    found = work.work(world.site, world.read(None, names=GPUS))
    assert all(one.any and not one.drained for one in found.values())
    drivers.bring(world.job, Asked())
    assert world.acts == ["stack h200a h200b"] and world.serving == set(GPUS) and set(world.boots.values()) == {0}
    assert work.work(world.site, world.read(None, names=GPUS))["h200a"].any is False


def as_router(world: World, routers: tuple[str, ...]) -> None:
    """h200a routes requests besides; `routers` are those that run."""
    places = dict(world.site.hosts)
    for name, place in places.items():
        rest = tuple(role for role in place.roles if role != "router")
        more = ("router",) if name == "h200a" or name in routers else ()
        places[name] = place.model_copy(update={"roles": (*rest, *more)})
    world.site, world.routers = world.site.model_copy(update={"hosts": places}), routers


def test_the_only_router_is_not_restarted_while_requests_come_unless_downtime_is_allowed(world: World) -> None:
    world.serves()
    as_router(world, ("h200a",))
    with pytest.raises(GateError, match="no other router runs"):
        drivers.bring(world.job, Asked())
    assert world.acts == [], "refused before it was drained"
    drivers.bring(world.job, Asked(allow_downtime=True))
    assert "restart h200a" in world.acts


def test_an_idle_host_that_is_the_only_router_is_not_restarted_either(world: World) -> None:
    world.serves()
    world.serving = {"h200b"}
    as_router(world, ("h200a",))
    with pytest.raises(GateError, match="no other router runs"):
        drivers.bring(world.job, Asked())
    assert not [act for act in world.acts if act.startswith("restart")]


@pytest.mark.parametrize("serving", [True, False])
def test_a_router_is_restarted_where_another_runs_or_nothing_is_served_yet(world: World, serving: bool) -> None:
    if serving:
        world.serves()
    as_router(world, ("gw1", "h200a") if serving else ("h200a",))
    drivers.bring(world.job, Asked())
    assert "restart h200a" in world.acts


def test_gpus_that_do_not_answer_after_all_was_done_end_the_run(world: World) -> None:
    world.silent = True
    with pytest.raises(PreflightError, match="none answers"):
        drivers.bring(world.job, Asked())


def test_the_only_host_that_serves_is_not_taken_down_unasked(world: World) -> None:
    world.serves()
    world.serving = {"h200a"}
    world.digest["h200b"] = work.work(world.site, world.read(None, names=GPUS))["h200b"].order["digest"]
    world.disk["h200b"] = world.memory["h200b"] = "580.178.04"
    with pytest.raises(GateError, match="only host that serves"):
        drivers.bring(world.job, Asked())
    assert world.acts == [] and world.serving == {"h200a"}


def test_a_member_the_ensemble_cannot_spare_is_not_restarted(world: World) -> None:
    world.members_up = False
    with pytest.raises(GateError, match="would not survive"):
        drivers.bring(world.job, Asked())
    assert world.acts == ["stack h200a h200b"] and set(world.boots.values()) == {0}


def test_a_host_that_did_not_really_restart_stops_the_run_before_the_next(world: World) -> None:
    world.stuck = {"h200a"}
    with pytest.raises(PostconditionFailed, match="was not restarted"):
        drivers.bring(world.job, Asked())
    assert world.acts[-1] == "restart h200a"


def test_with_a_driver_the_gpus_tell_what_they_are_and_the_stack_is_judged_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.reading

    def volta(host: str) -> Reading:
        found = real(host)
        cards = Gpus(replace(gpu, name="Tesla V100-SXM2-32GB") for gpu in found.get(Gpus) or ())
        return replace(found, values={**found.values, Gpus: cards})

    monkeypatch.setattr(world, "reading", volta)
    with pytest.raises(PreflightError, match="V100"):
        drivers.bring(world.job, Asked())
