"""From readings to a verdict: what is healthy, and that every fault is named where it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dsdeploy import observe
from dsdeploy.facts import (
    AnsweringEngines,
    Clock,
    EngineState,
    Hugepages,
    RouterServer,
    RouterState,
    SiteId,
    Srvr,
    Stamp,
    Thp,
    Weights,
)  # fmt: skip
from dsdeploy.hosts import Reading
from dsdeploy.site import Site
from dsdeploy.state import Status

Readings = dict[str, Reading]

SITE = Site.model_validate({
    "site": "lab", "stack": "cpu",
    "hosts": {
        "gw1": {"address": "10.90.0.11", "roles": ["router", "monitor", "zookeeper"]},
        "gw2": {"address": "10.90.0.12", "roles": ["router"]},
        "gpu1": {"address": "10.90.0.21", "roles": ["engine", "zookeeper"]},
        "gpu2": {"address": "10.90.0.22", "roles": ["engine", "zookeeper"]},
    },
    "host": {"transparent_hugepages": "never", "hugepages_2mb": 64},
    "model": {"name": "deepseek-tiny", "version": "v1", "source": "/mnt/weights"},
})  # fmt: skip


def engine(colour: str = "blue", **change: Any) -> EngineState:
    well = EngineState(colour, "r1", "r1", "active", 8101, "ok", True, "active/running")
    return replace(well, **change)


IDLE = engine("green", release=None, running=None, unit="inactive", health="down", answer=None, detail="")
SERVERS = tuple(
    RouterServer("engines", f"{host}-{colour}", status, "10.90.0.2:1", 0, "L7OK")
    for host in ("gpu1", "gpu2")
    for colour, status in (("blue", "UP"), ("green", "MAINT"))
)
ROUTER = RouterState(True, 200, SERVERS, ("r1",))


def healthy() -> Readings:
    common: dict[type[Any], Any] = {
        Clock: Clock(0.01, 0.01, True),
        SiteId: SiteId("lab"),
        Thp: Thp(True, True, "never", "never", 0, {64: "never", 2048: "inherit"}),
        Hugepages: Hugepages(64, 64, 0, 2048),
        Weights: Weights(),
    }
    engines = AnsweringEngines(blue=engine(), green=IDLE)
    own: dict[str, dict[type[Any], Any]] = {
        "gw1": {RouterState: ROUTER, Srvr: Srvr(True, "follower", 5)},
        "gw2": {RouterState: ROUTER},
        "gpu1": {AnsweringEngines: engines, Srvr: Srvr(True, "leader", 5)},
        "gpu2": {AnsweringEngines: engines, Srvr: Srvr(True, "follower", 5)},
    }
    return {name: Reading(name, True, "", {**common, **values}) for name, values in own.items()}


def changed(host: str, **values: Any) -> Readings:
    """Healthy, but for these values of one host."""
    readings = healthy()
    kinds = {kind.__name__: kind for kind in readings[host].values}
    merged = {**readings[host].values, **{kinds[name]: value for name, value in values.items()}}
    return {**readings, host: replace(readings[host], values=merged)}


def named(status: Status) -> list[str]:
    return [f"{name}: {problem}" for name, problem in status.named()]


def test_a_healthy_site() -> None:
    status = observe.status(SITE, healthy())
    assert status.healthy and named(status) == []
    assert status.verdict == "lab is healthy: release r1, 2 engines, 2 routers, quorum 3/3"
    assert status.release == "r1"
    assert (status.hosts["gpu1"].colour, status.hosts["gpu1"].engine) == ("blue", "ok")
    assert (status.hosts["gpu1"].zookeeper, status.hosts["gw2"].zookeeper) == ("leader", None)
    assert status.hosts["gw1"].engine is None
    assert status.routers["gw2"].backends_up == 2


def engines(**change: Any) -> AnsweringEngines:
    return AnsweringEngines(blue=engine(**change), green=IDLE)


DOWN = "gw1: router: gpu1-blue is DOWN (L4CON)"
ONE_DOWN = (replace(SERVERS[0], status="DOWN", check="L4CON"), *SERVERS[1:])

FAULTS: list[tuple[str, Callable[[], Readings], list[str]]] = [
    ("engine stopped", lambda: changed("gpu1", AnsweringEngines=engines(
        unit="inactive", running=None, health="down", answer=None, detail="inactive/dead")),
     ["gpu1: engine blue: does not answer (inactive/dead)"]),
    ("engine loading", lambda: changed("gpu1", AnsweringEngines=engines(health="loading", answer=None)),
     ["gpu1: engine blue: still loads the model (active/running)"]),
    ("no completion", lambda: changed("gpu1", AnsweringEngines=engines(answer=False)),
     ["gpu1: engine blue: says it is healthy, but gave no completion"]),
    ("not restarted", lambda: changed("gpu1", AnsweringEngines=engines(release="r2")),
     ["gpu1: engine blue: runs r1, is set to r2: not restarted since"]),
    ("another release", lambda: changed("gpu2", AnsweringEngines=engines(release="r0", running="r0")),
     [": several releases serve: r0, r1"]),
    ("engines unknown", lambda: changed("gpu1", AnsweringEngines=None), ["gpu1: engine: none is set up"]),
    ("member stopped", lambda: changed("gw1", Srvr=Srvr(False, error="nothing listens on its client port")),
     ["gw1: ZooKeeper: nothing listens on its client port"]),
    ("leader lost", lambda: changed("gpu1", Srvr=Srvr(False, error="up, but outside the quorum")),
     [": no quorum: no member leads", "gpu1: ZooKeeper: up, but outside the quorum"]),
    ("router stopped", lambda: changed("gw2", RouterState=RouterState(False, None, (), (), "nothing listens")),
     ["gw2: router: haproxy does not run"]),
    ("router mute", lambda: changed("gw2", RouterState=RouterState(True, None, (), (), "says nothing for 3 s")),
     ["gw2: router: says nothing for 3 s"]),
    ("router sick", lambda: changed("gw2", RouterState=replace(ROUTER, health=503)),
     ["gw2: router: /health answers 503"]),
    ("router unknown", lambda: changed("gw2", RouterState=None),
     ["gw2: router: not known, its host could not be asked"]),
    ("backend down", lambda: changed("gw1", RouterState=replace(ROUTER, servers=ONE_DOWN)), [DOWN]),
    ("THP on", lambda: changed("gpu1", Thp=Thp(True, True, "always", "always", 1)),
     ["gpu1: THP: always, declared never"]),
    ("THP on for one size", lambda: changed("gpu1", Thp=Thp(True, True, "never", "never", 0, {64: "always"})),
     ["gpu1: THP: 64 kB always, declared never"]),
    ("hugepages short", lambda: changed("gpu2", Hugepages=Hugepages(12, 12, 0, 2048)),
     ["gpu2: hugepages: 12 of 64 pages of 2 MiB"]),
    ("another site's", lambda: changed("gw2", SiteId=SiteId("prod")), ["gw2: belongs to site 'prod', not to 'lab'"]),
    ("nobody's", lambda: changed("gw2", SiteId=SiteId(None)), ["gw2: not set up yet: belongs to no site"]),
    ("facts missing", lambda: {**healthy(), "gw2": replace(healthy()["gw2"], missing={Clock: "it ended early"})},
     ["gw2: some facts are missing: it ended early"]),
]  # fmt: skip


@pytest.mark.parametrize(("readings", "problems"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_each_fault_is_named_and_makes_the_site_unhealthy(
    readings: Callable[[], Readings], problems: list[str]
) -> None:
    status = observe.status(SITE, readings())
    assert not status.healthy
    assert named(status) == problems
    assert status.verdict.startswith("lab is not healthy: ")


def test_an_unreachable_host_is_one_problem_and_its_member_counts_as_down() -> None:
    readings = {**healthy(), "gw1": Reading("gw1", False, "no SSH: 10.90.0.11 port 22: No route to host")}
    status = observe.status(SITE, readings)
    assert named(status) == ["gw1: no SSH: 10.90.0.11 port 22: No route to host"]
    assert not status.hosts["gw1"].reachable and not status.routers["gw1"].active
    assert status.quorum.ok and status.quorum.serving == ("gpu1", "gpu2")
    assert status.release == "r1"


def test_nothing_read_is_nothing_healthy() -> None:
    status = observe.status(SITE, {})
    assert not status.healthy and status.release is None and not status.quorum.ok
    assert [host.reachable for host in status.hosts.values()] == [False] * 4


def test_a_limit_shows_some_hosts_but_judges_the_quorum_of_all() -> None:
    readings = changed("gw1", Srvr=Srvr(False, error="nothing listens on its client port"))
    status = observe.status(SITE, readings, ["gpu1"])
    assert list(status.hosts) == ["gpu1"] and status.routers == {}
    assert status.healthy and status.quorum.serving == ("gpu1", "gpu2")


def test_the_colour_in_rotation_is_the_one_shown() -> None:
    green = engine("green", release="r2", running="r2")
    switched = tuple(replace(server, status="MAINT" if server.colour == "blue" else "UP") for server in SERVERS)
    readings = healthy()
    for host in ("gpu1", "gpu2"):
        readings = {**readings, host: replace(readings[host], values={
            **readings[host].values, AnsweringEngines: AnsweringEngines(blue=engine(), green=green)})}  # fmt: skip
    for host in ("gw1", "gw2"):
        state = replace(ROUTER, servers=switched, releases=("r2",))
        readings[host] = replace(readings[host], values={**readings[host].values, RouterState: state})
    status = observe.status(SITE, readings)
    assert status.healthy and status.release == "r2"
    assert {status.hosts[host].colour for host in ("gpu1", "gpu2")} == {"green"}


def test_what_is_worth_knowing_does_not_make_it_unhealthy() -> None:
    readings = changed("gw1", Clock=Clock(3600.0, 0.01, False), Thp=Thp(True, False, "madvise"))
    status = observe.status(SITE, readings)
    assert status.healthy
    assert status.hosts["gw1"].warnings == (
        "clock: +3600.0 s against this computer",
        "clock: not synchronized",
        "THP: madvise, declared never; read-only here",
    )


def test_weights_in_words() -> None:
    def stamp(**change: Any) -> Stamp:
        return replace(Stamp("m", "v1", "sha256:a", 100, "", 100, None, None), **change)

    weights = Weights({
        "m/v1": stamp(),
        "m/v2": stamp(digest="", bytes=0, size=None, partial=31, progress={"bytes_total": 100}),
        "m/v3": stamp(digest="", bytes=0, size=None, partial=31, progress={"bytes_total": 0}),
        "m/v4": stamp(size=99),
    })  # fmt: skip
    status = observe.status(SITE, changed("gpu1", Weights=weights))
    assert status.hosts["gpu1"].weights == {
        "m/v1": "verified", "m/v2": "pulling 31%", "m/v3": "pulling", "m/v4": "not verified",
    }  # fmt: skip


def test_the_json_has_the_promised_fields() -> None:
    value = json.loads(json.dumps(observe.status(SITE, healthy()).as_json()))
    assert {"site", "healthy", "verdict", "release", "quorum", "hosts", "routers", "problems"} <= set(value)
    assert value["healthy"] is True
    quorum = {key: value["quorum"][key] for key in ("ok", "leader", "serving", "voters", "majority")}
    assert quorum == {"ok": True, "leader": "gpu1", "serving": 3, "voters": 3, "majority": 2}
    promised = {"reachable", "roles", "release", "colour", "engine", "problems"}
    assert all(promised <= set(host) for host in value["hosts"].values())
    assert all({"active", "release", "backends_up", "problems"} == set(r) for r in value["routers"].values())
