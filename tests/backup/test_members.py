"""In which way members get their data back."""

from __future__ import annotations

from dsdeploy.backup.members import way
from dsdeploy.quorum import Quorum

ALL = ("a", "b", "c")


def now(*serving: str) -> Quorum:
    ok = len(serving) >= 2
    return Quorum(ok, serving[0] if ok else None, serving, ALL, 2, "" if ok else "too few", {})


def test_a_lost_member_comes_back_while_the_others_serve() -> None:
    assert way(now("a", "b"), ["c"], limited=True).name == "one"


def test_a_member_that_the_quorum_needs_is_not_taken_down() -> None:
    assert way(now("a", "b"), ["b"], limited=True).name == "no"
    assert way(now("a", "b", "c"), ["b"], limited=True).name == "one"


def test_all_come_back_together_when_none_serves_and_never_a_minority() -> None:
    assert way(now(), ["a", "b", "c"], limited=False).name == "all"
    refused = way(now(), ["a"], limited=True)
    assert refused.name == "no" and "leave out --host" in refused.why


def test_one_that_still_runs_without_a_quorum_is_not_overtaken_silently() -> None:
    assert way(now("a"), ["b", "c"], limited=True).name == "no"


def test_hosts_without_a_member_need_no_quorum() -> None:
    assert way(now(), [], limited=True).name == "one"
