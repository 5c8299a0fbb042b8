"""The lock of this computer; the one in ZooKeeper is tried with a real ensemble, in tests/lab."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dsdeploy import ensemble
from dsdeploy.errors import GateError, LockHeld
from dsdeploy.site import Site


@pytest.fixture
def site(lab_site: Site, tmp_path: Path) -> Site:
    copied = lab_site.model_copy()
    copied._file = tmp_path / "site.yml"
    return copied


def test_the_second_run_is_told_who_holds_the_lock(site: Site) -> None:
    with (
        ensemble.lock(site, "up", "run-1", None),
        pytest.raises(LockHeld) as held,
        ensemble.lock(site, "up", "run-2", None),
    ):
        pass
    assert f"pid {os.getpid()}" in held.value.what and "run run-1" in held.value.where


def test_a_released_lock_can_be_taken_again(site: Site) -> None:
    for run in ("run-1", "run-2"):
        with ensemble.lock(site, "up", run, None) as lock:
            assert lock.epoch is None
            lock.check()


def test_what_a_killed_run_left_in_the_file_holds_nothing(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / ".dsdeploy" / site.site
    folder.mkdir(parents=True)
    (folder / "lock").write_text('{"owner": "somebody", "pid": 1}')
    with ensemble.lock(site, "up", "run-1", None):
        pass


def test_a_lost_session_stops_the_run_at_its_next_step() -> None:
    with pytest.raises(GateError, match="lost"):
        ensemble.Lock(epoch=3, lost=True).check()
