"""What `dsdeploy restore` asks the program on the hosts, and when it says that a member is back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dsdeploy import rolling
from dsdeploy.backup import play
from dsdeploy.commands import restore
from dsdeploy.errors import GateError
from dsdeploy.quorum import Quorum
from dsdeploy.site import Site

PROGRAM = Path(__file__).resolve().parents[2] / "roles" / "backup" / "files"
NAMES = ("gw1", "gpu1", "gpu2")


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], Any]:
    """The parser of the program on the hosts."""
    monkeypatch.setattr(sys, "path", [str(PROGRAM), *sys.path])
    from dsdeploy_backup import __main__

    return lambda words: __main__._parser().parse_args(["--json", *words])


def now(*serving: str, ok: bool = True) -> Quorum:
    return Quorum(ok, serving[0] if serving else None, serving, NAMES, 2, f"{len(serving)} of 3 voters serve",
                  {name: "ZooKeeper: gave no answer" for name in NAMES if name not in serving})  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], tuple[str, ...]]]:
    """(words, hosts) of each play, none of which is run."""
    found: list[tuple[list[str], tuple[str, ...]]] = []
    monkeypatch.setattr(play, "program", lambda site, words, names, record: found.append((list(words), tuple(names))))
    return found


def ensemble(monkeypatch: pytest.MonkeyPatch, before: Quorum, after: Quorum) -> None:
    """How members answer before anything is restored, and ever after."""
    monkeypatch.setattr(rolling, "now", lambda site: before)
    monkeypatch.setattr(rolling, "patient", lambda site: after)
    monkeypatch.setattr(rolling, "SETTLE_SECONDS", 0.0)


def words(*more: str) -> list[str]:
    return restore._words("41", ["zookeeper"], "", "auto", True, *more)


@pytest.mark.parametrize(
    ("before", "members", "options"),
    [(now("gw1", "gpu1"), ["gpu2"], {"start": True, "no_start": False}),
     (now(ok=False), list(NAMES), {"start": False, "no_start": True})],
    ids=["one", "all"],
)  # fmt: skip
def test_a_named_snapshot_is_asked_for_in_words_that_the_program_takes(
    lab_site: Site, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[list[str], tuple[str, ...]]],
    parse: Callable[[list[str]], Any], before: Quorum, members: list[str], options: dict[str, bool],
) -> None:  # fmt: skip
    ensemble(monkeypatch, before, now(*NAMES))
    restore._all(lab_site, SimpleNamespace(), words, members, members, limited=len(members) == 1)  # type: ignore[arg-type]
    told = [vars(parse(said)) for said, _ in asked]
    assert told[0].items() >= {"verb": "restore", "snapshot": "41", "what": ["zookeeper"], "replace": True}.items()
    assert told[0].items() >= options.items()
    assert [one["verb"] for one in told] == (["restore", "start"] if options["no_start"] else ["restore"])


@pytest.mark.parametrize("snapshot", ["", "41", "1a2b3c4d"])
def test_every_option_reaches_the_program(parse: Callable[[list[str]], Any], snapshot: str) -> None:
    said = vars(parse(restore._words(snapshot, ["site", "journal"], "/root/drill", "offsite", False)))
    wanted = {"snapshot": snapshot, "what": ["site", "journal"], "to": "/root/drill", "source": "offsite"}
    assert said.items() >= {**wanted, "replace": False, "start": False, "no_start": False}.items()


def test_a_member_that_does_not_come_back_is_named_and_no_success(
    lab_site: Site, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[list[str], tuple[str, ...]]]
) -> None:
    ensemble(monkeypatch, now("gw1", "gpu1"), now("gw1", "gpu1"))
    with pytest.raises(GateError, match="gpu2 has its data, and does not serve") as caught:
        restore._all(lab_site, SimpleNamespace(), words, ["gpu2"], ["gpu2"], limited=True)  # type: ignore[arg-type]
    assert "journalctl -u zookeeper on gpu2" in caught.value.hint
    ensemble(monkeypatch, now(ok=False), now("gw1", "gpu1"))
    with pytest.raises(GateError, match="gpu2 has its data"):
        restore._all(lab_site, SimpleNamespace(), words, NAMES, NAMES, limited=False)  # type: ignore[arg-type]


def test_a_member_that_was_not_restored_is_not_waited_for(
    lab_site: Site, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[list[str], tuple[str, ...]]]
) -> None:
    ensemble(monkeypatch, now("gw1", "gpu1"), now("gw1", "gpu2"))
    restore._all(lab_site, SimpleNamespace(), words, ["gpu2"], ["gpu2"], limited=True)  # type: ignore[arg-type]
    assert [names for _, names in asked] == [("gpu2",)]
