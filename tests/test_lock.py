"""`dsdeploy lock show` and `lock release`, without an ensemble: what ZooKeeper does is in test_ensemble.py."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dsdeploy import ensemble, hosts, output
from dsdeploy import owner as owners
from dsdeploy.commands import lock
from dsdeploy.errors import DsdeployError, Fenced
from dsdeploy.facts import Srvr
from dsdeploy.hosts import Reading
from dsdeploy.owner import Owner
from dsdeploy.site import Site, load

SITE = """\
site: t
stack: cpu
hosts:
  gw1: {address: 10.1.0.1, roles: [router, zookeeper]}
  gpu1: {address: 10.1.0.2, roles: [engine, zookeeper]}
  gpu2: {address: 10.1.0.3, roles: [engine, zookeeper]}
model: {name: m, version: v1, source: /mnt/weights}
"""
DOWN = Srvr(False, error="refused")
LEADS, FOLLOWS = Srvr(True, "leader"), Srvr(True, "follower")


def answering(monkeypatch: pytest.MonkeyPatch, *answers: Srvr) -> None:
    def read(site: Site, *kinds: type, names: Sequence[str]) -> dict[str, Reading]:
        assert tuple(names) == ("gw1", "gpu1", "gpu2")
        return {name: Reading(name, True, values={Srvr: said}) for name, said in zip(names, answers, strict=True)}

    monkeypatch.setattr(hosts, "read", read)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site without a serving ensemble."""
    answering(monkeypatch, DOWN, DOWN, DOWN)
    output.console.cache_clear()
    output.progress.cache_clear()
    path = tmp_path / "site.yml"
    path.write_text(SITE)
    return path


def test_nobody_holds_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lock.show(path, False) == 0
    told = capsys.readouterr()
    assert told.out == "nobody holds the lock on this computer\n"
    assert "no ensemble serves" in told.err
    assert lock.show(path, True) == 0
    assert json.loads(capsys.readouterr().out) == {"held": False, "ensemble": False}


def test_the_holder_is_shown_with_its_id(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ensemble.lock(load(path), "upgrade", "run-1", (), 0) as held:
        held.step("switch")
        assert lock.show(path, False) == 0
        text = capsys.readouterr().out
        assert lock.show(path, True) == 0
        value = json.loads(capsys.readouterr().out)
    assert f"(pid {os.getpid()})" in text and "upgrade, at step switch" in text
    assert f"run run-1, lock {held.id}" in text and "that process is gone" not in text
    assert f"dsdeploy lock release {path} {held.id}" in text
    assert (value["held"], value["dead"], value["id"], value["step"]) == (True, False, held.id, "switch")
    assert set(Owner.__dataclass_fields__) < set(value)


def test_release_takes_it_from_its_holder(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ensemble.lock(load(path), "upgrade", "run-1", (), 0) as held:
        with pytest.raises(DsdeployError, match=held.id):
            lock.release(path, "0123456789ab")
        held.check()
        assert lock.release(path, held.id) == 0
        assert "stops before its next step" in capsys.readouterr().out
        with pytest.raises(Fenced):
            held.check()


def test_a_dead_holder_in_the_ensemble_is_shown_as_dead(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, DOWN, LEADS, FOLLOWS)
    dead = replace(owners.me("upgrade", "run-1"), started="1")

    def holder(site: Site, members: Sequence[str]) -> Owner:
        assert tuple(members) == ("gpu1", "gpu2")  # those that serve, no others
        return dead

    monkeypatch.setattr(ensemble, "holder", holder)
    assert lock.show(path, False) == 0
    assert "the next run on this computer takes the lock over" in capsys.readouterr().out
    assert lock.show(path, True) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["held"], value["ensemble"], value["dead"]) == (True, True, True)


@pytest.mark.parametrize("answers", [(LEADS, DOWN, DOWN), (FOLLOWS, FOLLOWS, DOWN), (LEADS, LEADS, FOLLOWS)])
def test_members_that_make_no_ensemble_are_not_asked(
    path: Path, monkeypatch: pytest.MonkeyPatch, answers: tuple[Srvr, ...]
) -> None:
    answering(monkeypatch, *answers)
    assert lock.serving(load(path)) == ()
