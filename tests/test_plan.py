"""What `up` would do, from readings alone."""

from __future__ import annotations

import pytest

from dsdeploy import plan
from dsdeploy.errors import HostUnreachable, PreflightError
from dsdeploy.facts import (
    Engines,
    EngineState,
    Hugepages,
    Installed,
    PackageLock,
    RouterState,
    SiteId,
    Srvr,
    Stamp,
    Thp,
    Weights,
)
from dsdeploy.hosts import Reading
from dsdeploy.site import Site

RELEASE = "v1-0123456789ab"


def state(colour: str, release: str, unit: str = "active") -> EngineState:
    return EngineState(colour, release, release, unit, 8101, "ok")


def reading(host: str, *values: object) -> Reading:
    return Reading(host, True, values={type(value): value for value in values})


def bare(site: Site) -> dict[str, Reading]:
    return {
        host: reading(host, SiteId(None), Thp(True, True, "always"), Hugepages(0, 0, 0, 2048)) for host in site.hosts
    }


def converged(site: Site, release: str = RELEASE) -> dict[str, Reading]:
    stamp = Stamp("deepseek-tiny", "v1", "sha256:x", 10, "2026-11-22", 10, None, None)
    router = RouterState(active=True, health=200, servers=(), releases=(release,))
    return {
        host: reading(
            host, SiteId("lab"), Thp(True, True, "never"), Hugepages(64, 64, 0, 2048), Srvr(True, "follower"), router,
            Weights({"deepseek-tiny/v1": stamp}), Engines(blue=state("blue", release)),
        )
        for host in site.hosts
    }  # fmt: skip


def test_bare_hosts_need_every_stage_of_their_roles(lab_site: Site) -> None:
    made = plan.make(lab_site, bare(lab_site), None)
    stages = {host: {a.stage for a in made.actions if a.host == host} for host in lab_site.hosts}
    assert stages["gpu1"] == {"prep", "weights", "build", "ensemble", "engine"}
    assert stages["gw1"] == {"prep", "ensemble", "router"}
    assert stages["gw2"] == {"prep", "router"}
    assert made.serving is None
    made.refuse()


def test_a_converged_site_needs_nothing(lab_site: Site) -> None:
    made = plan.make(lab_site, converged(lab_site), RELEASE)
    assert made.actions == () and made.serving == RELEASE


def test_another_release_is_started_and_switched_to(lab_site: Site) -> None:
    made = plan.make(lab_site, converged(lab_site, "v0-old"), RELEASE)
    assert {(a.host, a.stage) for a in made.actions} == {
        (host, stage) for host in ("gpu1", "gpu2") for stage in ("build", "engine")
    } | {("gw1", "router"), ("gw2", "router")}
    assert all("v0-old" in a.why for a in made.actions if a.stage == "engine")


def test_a_stage_alone_says_what_it_does_and_moves_no_requests(lab_site: Site) -> None:
    made = plan.make(lab_site, bare(lab_site), None, only="ensemble")
    assert {action.stage for action in made.actions} == {"ensemble"}
    assert plan.make(lab_site, converged(lab_site, "v0-old"), RELEASE, only="prep").rollout is None


def test_what_stands_in_the_way_refuses(lab_site: Site) -> None:
    readings = bare(lab_site) | {"gpu1": reading("gpu1", PackageLock(True, "dpkg", 5, "/var/lib/dpkg/lock"))}
    with pytest.raises(PreflightError) as refused:
        plan.make(lab_site, readings, None).refuse()
    assert "dpkg (pid 5)" in refused.value.problems[0].what
    readings["gpu2"] = Reading("gpu2", False, "gpu2 did not answer", hint="ssh gpu2")
    with pytest.raises(HostUnreachable) as dead:
        plan.make(lab_site, readings, None).refuse()
    assert [p.where for p in dead.value.problems] == ["host gpu2", "host gpu1, /var/lib/dpkg/lock"]
    assert dead.value.problems[0].hint == "ssh gpu2"


def test_the_release_keeps_its_colour_or_takes_the_idle_one(lab_site: Site) -> None:
    readings = {
        "gpu1": reading("gpu1", Engines(blue=state("blue", "v0-old"))),
        "gpu2": reading("gpu2", Engines(blue=state("blue", "v0-old"), green=state("green", RELEASE))),
    }
    chosen = plan.colours(lab_site, readings, RELEASE)
    assert chosen == {"gpu1": "green", "gpu2": "green"}
    assert plan.colours(lab_site, {"gpu1": reading("gpu1"), "gpu2": reading("gpu2")}, RELEASE) == {
        "gpu1": "blue",
        "gpu2": "blue",
    }


@pytest.mark.parametrize(
    ("health", "detail", "why"),
    [
        ("down", "activating/auto-restart, exit-code", "blue: it does not start"),
        ("down", "active/running", "blue: it answers nothing"),
        ("down", "activating/start", ""),
        ("loading", "activating/start", ""),
    ],
)
def test_an_engine_of_the_release_that_does_not_serve_is_work(
    lab_site: Site, health: str, detail: str, why: str
) -> None:
    readings = converged(lab_site)
    sick = EngineState("blue", RELEASE, RELEASE, "active", 8101, health, detail=detail)
    readings["gpu2"] = reading("gpu2", *readings["gpu2"].values.values(), Engines(blue=sick))
    actions = plan.make(lab_site, readings, RELEASE).actions
    assert [(a.host, a.stage, a.why) for a in actions] == ([("gpu2", "engine", why)] if why else [])


def test_a_release_that_stopped_in_its_colour_is_started_there(lab_site: Site) -> None:
    readings = {"gpu1": reading("gpu1", Engines(green=state("green", RELEASE, "failed"))), "gpu2": reading("gpu2")}
    assert plan.colours(lab_site, readings, RELEASE)["gpu1"] == "green"


def test_without_a_router_two_releases_at_once_are_no_release(lab_site: Site) -> None:
    readings = {
        "gpu1": reading("gpu1", Engines(blue=state("blue", "a"))),
        "gpu2": reading("gpu2", Engines(blue=state("blue", "b"))),
    }
    assert plan.serving(lab_site, readings) is None


EVERY = {"monitor": {}, "health": {}, "logs": {}, "backup": {"password_file": "password"}}


def asking(site: Site, **sections: object) -> Site:
    """The same site with these sections."""
    return Site.model_validate({**site.model_dump(mode="json", exclude_none=True), **sections})


def with_units(site: Site, *names: str) -> dict[str, Reading]:
    return {
        name: Reading(name, True, values={**found.values, Installed: Installed(names)})
        for name, found in converged(site).items()
    }


def test_what_runs_beside_serving_is_planned_where_it_was_asked_for_and_is_not_there(lab_site: Site) -> None:
    site = asking(lab_site, **EVERY)
    made = plan.make(site, with_units(site), RELEASE)
    stages = {host: {action.stage for action in made.actions if action.host == host} for host in site.hosts}
    assert stages["gpu1"] == {"health", "backup", "monitor"} and stages["gw2"] == {"backup", "monitor"}
    servers = [action.host for action in made.actions if "Prometheus" in action.what]
    assert servers == list(site.with_role("monitor")) == ["gw1"]
    there = with_units(site, "health", "backup", "logs", "exporter", "prometheus")
    assert plan.make(site, there, RELEASE).actions == ()
    missing = plan.make(site, with_units(site, "health", "backup", "exporter", "prometheus"), RELEASE).actions
    assert {(action.stage, action.what) for action in missing} == {("backup", "log rotation on a timer")}


def test_what_is_not_asked_for_or_switched_off_is_not_planned(lab_site: Site) -> None:
    assert plan.make(lab_site, with_units(lab_site), RELEASE).actions == ()
    off = asking(lab_site, health={"enabled": False})
    assert plan.make(off, with_units(off), RELEASE).actions == ()
    unread = asking(lab_site, **EVERY)  # a host that could not be asked is no reason to do anything
    assert plan.make(unread, converged(unread), RELEASE).actions == ()
