"""What hosts remember of runs, and what follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dsdeploy.errors import DsdeployError
from dsdeploy.facts import Epoch, HostRun, Runs
from dsdeploy.hosts import Reading
from dsdeploy.journal import Journal
from dsdeploy.releases import recover
from dsdeploy.runs import Run

from .conftest import NEW, OLD, reading


def run(name: str, epoch: int, verb: str, *steps: str, outcome: str = "", source: str = OLD, to: str = NEW) -> HostRun:
    at = f"2026-11-22T05:0{epoch}"
    begin: dict[str, Any] = {"kind": "begin", "run": name, "verb": verb, "at": at, "epoch": epoch, "from": source}
    common: dict[str, Any] = {"epoch": epoch, "release": to}
    lines = tuple({"kind": "step", "at": f"{at}:{n:02}", "step": step} | common for n, step in enumerate(steps))
    end = {"kind": "end", "at": f"{at}:59", "outcome": outcome, "to": to} | common
    last = end if outcome else lines[-1] if lines else begin
    return HostRun(name, begin | {"user": "root", "controller": "ops1"}, lines, last)


def hosts(**runs: tuple[HostRun, ...]) -> dict[str, Reading]:
    return {
        name: reading(name, Runs(found), Epoch(max((r.epoch for r in found), default=0)))
        for name, found in runs.items()
    }


def test_a_run_that_one_host_saw_end_is_over() -> None:
    seen = hosts(
        gw1=(run("a", 1, "upgrade", "start", "switch"),), gpu1=(run("a", 1, "upgrade", "start", outcome="done"),)
    )
    assert recover.unfinished(seen) is None
    assert recover.epoch(seen) == 1


def test_a_run_that_stopped_tells_where_and_to_what() -> None:
    steps = ("begin", "start", "switch")
    seen = hosts(gw1=(run("a", 1, "upgrade", *steps),), gpu1=(run("a", 1, "upgrade", *steps[:2]),))
    left = recover.unfinished(seen)
    assert left and (left.source, left.to, left.step, left.committed, left.moved) == (OLD, NEW, "switch", False, True)


def test_one_host_with_the_commit_is_enough_to_go_forward() -> None:
    seen = hosts(gw1=(run("a", 1, "upgrade", "switch", "commit"),), gpu1=(run("a", 1, "upgrade", "start"),))
    left = recover.unfinished(seen)
    assert left and left.committed


def test_a_run_whose_end_only_the_hosts_know_is_found_here(tmp_path: Path) -> None:
    seen = hosts(gw1=(run("a", 1, "upgrade", outcome="done"), run("b", 2, "upgrade", "switch")))
    died = journal_of(tmp_path, "a", "upgrade", "intent")
    found = recover.untold(died, seen)
    assert found is not None and found[0] == died and found[1].outcome == "done"
    assert recover.untold(None, seen) is None
    assert (
        recover.untold(journal_of(tmp_path, "b", "upgrade", "intent"), seen) is None
    )  # unfinished: resumed, not buried
    assert recover.untold(journal_of(tmp_path, "c", "upgrade", "intent"), seen) is None
    Journal(died.folder).write("end", outcome="done")
    assert recover.untold(died, seen) is None


def test_an_up_that_moved_nothing_is_simply_run_again() -> None:
    assert recover.unfinished(hosts(gw1=(run("a", 1, "up", "begin", "prepare"),))) is None
    moved = recover.unfinished(hosts(gw1=(run("a", 1, "up", "begin", "start"),)))
    assert moved and moved.verb == "up"


def test_a_later_run_supersedes_an_unfinished_one() -> None:
    seen = hosts(gw1=(run("a", 1, "upgrade", "start"), run("b", 2, "upgrade", "end", outcome="done")))
    assert recover.unfinished(seen) is None


@pytest.mark.parametrize(
    ("past", "serving", "verb"),
    [
        ((run("a", 1, "upgrade", outcome="done"),), NEW, "upgrade"),
        (
            (run("a", 1, "upgrade", outcome="done"), run("b", 2, "rollback", outcome="done", source=NEW, to=OLD)),
            OLD,
            "rollback",
        ),
        ((run("a", 1, "up", outcome="done", source="", to=NEW),), NEW, "up"),
        ((run("a", 1, "upgrade", outcome="returned"),), OLD, None),
        (
            (run("a", 1, "upgrade", outcome="done"), run("b", 2, "up", outcome="done", source=NEW, to=NEW)),
            NEW,
            "upgrade",
        ),
    ],
)
def test_what_brought_the_release_that_serves(past: tuple[HostRun, ...], serving: str, verb: str | None) -> None:
    found = recover.before(hosts(gw1=past), serving)
    assert (found.verb if found else None) == verb


def test_a_run_to_elsewhere_stands_in_the_way() -> None:
    left = recover.unfinished(hosts(gw1=(run("a", 1, "upgrade", "start"),)))
    recover.same_way(left, NEW, "site.yml")
    recover.same_way(None, NEW, "site.yml")
    with pytest.raises(DsdeployError, match="unfinished at step start") as refused:
        recover.same_way(left, "v3-222222222222", "site.yml")
    assert "abort SITE" in refused.value.hint
    back = recover.unfinished(hosts(gw1=(run("a", 1, "rollback", "start", source=NEW, to=OLD),)))
    with pytest.raises(DsdeployError) as refused:
        recover.same_way(back, OLD, "site.yml")
    assert "abort" not in refused.value.hint


def journal_of(folder: Path, run: str, verb: str, *kinds: str) -> Run:
    made = Run(run, folder / run)
    for kind in kinds:
        Journal(made.folder).write(kind, step="begin", detail={"verb": verb})
    return made


def test_a_run_that_died_before_any_host_knew_of_it_is_remembered_here(tmp_path: Path) -> None:
    seen = hosts(gw1=(run("a", 1, "upgrade", outcome="done"),))
    assert recover.unheard(None, seen) is None
    assert recover.unheard(journal_of(tmp_path, "a", "upgrade", "intent"), seen) is None
    died = journal_of(tmp_path, "b", "upgrade", "intent")
    assert recover.unheard(died, seen) == died
    assert recover.unheard(journal_of(tmp_path, "c", "rollback", "intent"), seen) is None
    assert recover.unheard(journal_of(tmp_path, "d", "upgrade", "intent", "end"), seen) is None


def test_an_up_that_moved_nothing_is_not_what_a_rollback_undoes() -> None:
    before = run("a", 1, "upgrade", outcome="done")
    assert recover.replaced_nothing(hosts(gw1=(before,))) is None
    died = recover.replaced_nothing(hosts(gw1=(before, run("b", 2, "up", "begin", "prepare"))))
    assert died is not None and died.run == "b"
    assert recover.replaced_nothing(hosts(gw1=(before, run("b", 2, "up", "begin", "start")))) is None
    assert recover.replaced_nothing(hosts(gw1=(before, run("b", 2, "up", "begin", source=OLD, to=OLD)))) is None
