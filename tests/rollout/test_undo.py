"""A run that died before it replaced anything leaves nothing behind once somebody asks about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dsdeploy import ensemble, journal, playbook, runs
from dsdeploy.journal import Journal
from dsdeploy.releases import recover
from dsdeploy.rollout import run, undo
from dsdeploy.rollout.asked import Asked
from dsdeploy.runs import Run
from dsdeploy.site import Site

ASKED = Asked(yes=True)


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is taken and given back, in order."""
    seen: list[str] = []

    @contextmanager
    def lock(site: Site, verb: str, run_id: str, members: Any, epoch: int) -> Iterator[None]:
        seen.append(f"lock {run_id}")
        yield
        seen.append("unlock")

    @contextmanager
    def connections() -> Iterator[Path]:
        seen.append("connections of the dead closed")
        yield Path("/nowhere")

    @contextmanager
    def session(site: Site, verb: str, readings: Any, asked: Asked, left: Any) -> Iterator[str]:
        seen.append(f"session {verb} {left.run}")
        yield "job"

    monkeypatch.setattr(ensemble, "lock", lock)
    monkeypatch.setattr(playbook, "connections", connections)
    monkeypatch.setattr(run, "members", lambda site, readings, verb: ())
    monkeypatch.setattr(run, "session", session)
    monkeypatch.setattr(run, "end", lambda job, outcome, to, release: seen.append(f"{job} {outcome}, {release} serves"))
    return seen


def past(verb: str, outcome: str = "") -> recover.Past:
    return recover.Past(
        "b", verb, "ana", "2026-11-22", 7, "v1-a", "v2-b", outcome, "prepare", committed=False, moved=False
    )


def test_one_that_no_host_knew_of_gives_its_lock_back_and_is_told_once(
    lab_site: Site, acts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = Run("a", tmp_path / "a")
    Journal(died.folder).write("intent", step="begin", detail={"verb": "up"})
    monkeypatch.setattr(runs, "newest", lambda site: died)
    assert undo.settle(lab_site, {}, ASKED) == "a"
    assert acts == ["connections of the dead closed", "lock a", "unlock"]
    assert journal.read(died.folder / journal.NAME)[-1]["outcome"] == "aborted"
    assert undo.settle(lab_site, {}, ASKED) == ""


def test_one_that_hosts_remember_gets_its_end_there(
    lab_site: Site, acts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "newest", lambda site: None)
    monkeypatch.setattr(recover, "replaced_nothing", lambda readings: past("up"))
    assert undo.settle(lab_site, {}, ASKED) == "b"
    assert acts == ["session up b", "job aborted, v1-a serves"]


def test_where_none_died_nothing_is_taken(lab_site: Site, acts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "newest", lambda site: None)
    assert undo.settle(lab_site, {}, ASKED) == ""
    assert acts == []


def test_one_that_did_everything_gives_its_lock_back_and_notes_its_end_once(
    lab_site: Site, acts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = Run("b", tmp_path / "b")
    Journal(died.folder).write("intent", step="end")
    monkeypatch.setattr(runs, "newest", lambda site: died)
    monkeypatch.setattr(recover, "runs", lambda readings: [past("upgrade", "done")])
    undo.bury(lab_site, {})
    assert acts == ["connections of the dead closed", "lock b", "unlock"]
    assert journal.read(died.folder / journal.NAME)[-1]["outcome"] == "done"
    undo.bury(lab_site, {})
    assert len(acts) == 3
