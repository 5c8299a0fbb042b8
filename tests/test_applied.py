"""What `up` recorded of the settings it brought, against what the site file asks for now."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsdeploy import applied, paths, plan
from dsdeploy.facts import HostRun, Runs
from dsdeploy.hosts import Reading
from dsdeploy.site import Site

from .test_plan import EVERY, RELEASE, asking, converged, with_units

AT = "2026-11-22T05:15:00.123456+00:00"
SAID = "the site file or dsdeploy has changed since the up of 2026-11-22 05:15"


def up(number: int, brought: dict[str, str] | None, verb: str = "up") -> HostRun:
    end = {"kind": "end", "outcome": "done"} | ({} if brought is None else {"applied": brought})
    return HostRun(
        f"2026112{number}T051500-1-{verb}", {"kind": "begin", "verb": verb, "at": AT, "epoch": number}, (), end
    )


def known(readings: dict[str, Reading], *runs: HostRun) -> dict[str, Reading]:
    return {name: Reading(name, True, values={**one.values, Runs: Runs(runs)}) for name, one in readings.items()}


def rows(site: Site, readings: dict[str, Reading]) -> set[tuple[str, str, str]]:
    return {(action.host, action.stage, action.why) for action in plan.make(site, readings, RELEASE).actions}


def test_what_the_last_up_brought_is_nothing_to_do(lab_site: Site) -> None:
    there = known(converged(lab_site), up(1, applied.record(lab_site, None)))
    assert plan.make(lab_site, there, RELEASE).actions == ()


def test_another_setting_of_a_role_is_named_on_its_hosts_only(lab_site: Site) -> None:
    there = known(converged(lab_site), up(1, applied.record(lab_site, None)))
    limited = asking(lab_site, router={**lab_site.router.model_dump(mode="json"), "max_body": "9MiB"})
    assert rows(limited, there) == {("gw1", "router", SAID), ("gw2", "router", SAID)}
    larger = asking(lab_site, zookeeper={**lab_site.zookeeper.model_dump(mode="json"), "heap": "1GiB"})
    assert rows(larger, there) == {(host, "ensemble", SAID) for host in lab_site.with_role("zookeeper")}


def test_a_new_section_that_others_go_by_is_named_where_it_is_not_installed_too(lab_site: Site) -> None:
    """With `monitor` the routers get an exporter: their own settings change as well."""
    old = asking(lab_site, **{name: given for name, given in EVERY.items() if name != "monitor"})
    new = asking(lab_site, **EVERY)
    there = known(with_units(new, "health", "backup", "logs"), up(1, applied.record(old, None)))
    stages = {(host, stage) for host, stage, _ in rows(new, there)}
    assert {("gw1", "router"), ("gw2", "router"), ("gpu1", "monitor")} <= stages
    assert {stage for host, stage in stages if host == "gpu2"} == {"monitor"}


def test_an_up_of_one_stage_adds_to_what_an_earlier_one_brought(lab_site: Site) -> None:
    old = asking(lab_site, router={**lab_site.router.model_dump(mode="json"), "max_body": "9MiB"})
    first, second = up(1, applied.record(old, None)), up(2, applied.record(lab_site, "router"))
    assert rows(lab_site, known(converged(lab_site), first, up(3, {}, "upgrade"))) != set()
    assert rows(lab_site, known(converged(lab_site), first, second)) == set()
    assert set(applied.record(lab_site, "router")) == {"router"} and applied.record(lab_site, "engine") == {}


def test_after_an_up_that_did_not_end_nothing_is_taken_for_known(lab_site: Site) -> None:
    """It may have brought settings of a site file that was put back since."""
    whole, died = up(1, applied.record(lab_site, None)), up(2, None)
    found = rows(lab_site, known(converged(lab_site), whole, died))
    assert {(host, stage) for host, stage, _ in found} == {
        *((host, "prep") for host in lab_site.hosts),
        *((host, "ensemble") for host in lab_site.with_role("zookeeper")),
        *((host, "router") for host in lab_site.with_role("router")),
    }
    assert {why for *_, why in found} == {"the up of 2026-11-22 05:15 did not tell what it brought"}


def test_a_host_that_no_up_was_on_says_nothing(lab_site: Site) -> None:
    assert rows(lab_site, known(converged(lab_site), up(1, None, "upgrade"))) == set()


def test_a_role_of_a_newer_dsdeploy_is_another_one(
    lab_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = applied.digests(lab_site)
    for role in applied.STAGES:
        (tmp_path / role).mkdir()
        (tmp_path / role / "defaults.yml").write_text("{}\n")
    (tmp_path / "router" / "haproxy.cfg.j2").write_text("global\n")
    applied._files.cache_clear()
    monkeypatch.setattr(paths, "ROLES", tmp_path)
    try:
        first = applied.digests(lab_site)
        (tmp_path / "router" / "haproxy.cfg.j2").write_text("global\n  nbthread 4\n")
        applied._files.cache_clear()
        assert {role for role, digest in applied.digests(lab_site).items() if digest != first[role]} == {"router"}
        assert all(before[role] != digest for role, digest in first.items())
    finally:
        applied._files.cache_clear()


def test_where_the_site_file_lies_does_not_count(lab_site: Site, tmp_path: Path) -> None:
    site = asking(lab_site, **EVERY)
    moved = site.model_copy(update={"file": tmp_path / "site.yml"})
    assert applied.digests(site.model_copy(update={"file": Path("/elsewhere/site.yml")})) == applied.digests(moved)
