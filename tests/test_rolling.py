"""Which ensemble member may be restarted next."""

from __future__ import annotations

import pytest

from dsdeploy import hosts, rolling
from dsdeploy.errors import GateError
from dsdeploy.facts import Srvr
from dsdeploy.facts.restart import RestartNeeded, RestartNeededFact
from dsdeploy.hosts import Reading
from dsdeploy.site import Site

MEMBERS = ("gw1", "gpu1", "gpu2")


class Ensemble:
    """Three members in memory: a restart of the leader elects another, as a real one does."""

    def __init__(self, leader: str, marked: set[str], down: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.leader, self.marked, self.down = leader, marked, set(down)
        self.restarted: list[str] = []

    def read(self, site: Site, *kinds: type, names: object = None) -> dict[str, Reading]:
        return {name: Reading(name, True, values=self._values(name)) for name in MEMBERS}

    def _values(self, name: str) -> dict[type, object]:
        mode = "leader" if name == self.leader else "follower"
        answer = Srvr(False, error="refused") if name in self.down else Srvr(True, mode)
        return {Srvr: answer, RestartNeeded: RestartNeeded(name in self.marked)}

    def restart(self, host: str) -> None:
        self.restarted.append(host)
        self.marked.discard(host)
        self.down.discard(host)
        if host == self.leader:
            self.leader = next(name for name in MEMBERS if name != host)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, lab_site: Site):  # type: ignore[no-untyped-def]
    def start(ensemble: Ensemble) -> list[str]:
        monkeypatch.setattr(hosts, "read", ensemble.read)
        rolling.restart_where_needed(lab_site, MEMBERS, ensemble.restart)
        return ensemble.restarted

    return start


def test_the_leader_goes_last(run) -> None:  # type: ignore[no-untyped-def]
    assert run(Ensemble("gw1", set(MEMBERS))) == ["gpu1", "gpu2", "gw1"]


def test_nothing_marked_nothing_restarted(run) -> None:  # type: ignore[no-untyped-def]
    assert run(Ensemble("gw1", set())) == []


def test_a_member_that_is_down_anyway_goes_first(run) -> None:  # type: ignore[no-untyped-def]
    assert run(Ensemble("gw1", {"gw1", "gpu2"}, down={"gpu2"}))[0] == "gpu2"


def test_a_member_is_not_taken_down_when_another_is_missing(run) -> None:  # type: ignore[no-untyped-def]
    ensemble = Ensemble("gw1", {"gpu1"}, down={"gpu2"})
    with pytest.raises(GateError, match="would not survive"):
        run(ensemble)
    assert ensemble.restarted == []


def test_a_member_that_does_not_come_back_stops_the_roll(run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    ensemble = Ensemble("gw1", {"gpu1", "gpu2"})

    def breaks(host: str) -> None:
        ensemble.restarted.append(host)
        ensemble.down.add(host)

    monkeypatch.setattr(ensemble, "restart", breaks)
    monkeypatch.setattr(rolling, "SETTLE_SECONDS", 0.0)
    with pytest.raises(GateError, match="did not rejoin"):
        run(ensemble)
    assert ensemble.restarted == ["gpu1"]


def test_the_marker_is_read_with_its_note() -> None:
    assert RestartNeededFact().process(["marked", "zoo.cfg"]) == RestartNeeded(True, "zoo.cfg")
    assert RestartNeededFact().process([]) == RestartNeeded(False)
