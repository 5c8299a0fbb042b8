"""The arithmetic that decides whether an ensemble holds, as a table."""

from __future__ import annotations

import pytest

from dsdeploy import quorum
from dsdeploy.facts import Srvr
from dsdeploy.quorum import Quorum

ANSWERS: dict[str, Srvr | None] = {
    "L": Srvr(True, "leader", 1),
    "F": Srvr(True, "follower", 1),
    "O": Srvr(True, "observer", 1),
    "S": Srvr(True, "standalone", 1),
    "x": Srvr(False, error="nothing listens on its client port"),
    "?": None,
    "!": Srvr(True, ""),
}


def judge(shape: str) -> Quorum:
    """An ensemble a, b, c, … of which the n-th answers as the n-th letter says."""
    names = "abcdefghi"[: len(shape)]
    return quorum.verdict(list(names), {n: ANSWERS[letter] for n, letter in zip(names, shape, strict=True)})


@pytest.mark.parametrize(
    ("shape", "ok", "leader", "serving", "majority", "why"),
    [
        ("LFF", True, "a", "abc", 2, "3 of 3 voters serve, a leads"),
        ("FLF", True, "b", "abc", 2, "3 of 3 voters serve, b leads"),
        ("LFx", True, "a", "ab", 2, "2 of 3 voters serve, a leads"),
        ("LF?", True, "a", "ab", 2, "2 of 3 voters serve, a leads"),
        ("Lxx", False, "a", "a", 2, "1 of 3 voters serve, 2 are needed; down: b, c"),
        ("Fx?", False, None, "a", 2, "1 of 3 voters serve, 2 are needed; down: b, c"),
        ("xxx", False, None, "", 2, "0 of 3 voters serve, 2 are needed; down: a, b, c"),
        ("???", False, None, "", 2, "0 of 3 voters serve, 2 are needed; down: a, b, c"),
        ("FFF", False, None, "abc", 2, "no member leads"),
        ("FFx", False, None, "ab", 2, "no member leads"),
        ("LLF", False, None, "abc", 2, "a and b both say they lead"),
        ("LLx", False, None, "ab", 2, "a and b both say they lead"),
        ("S", True, "a", "a", 1, "1 of 1 voters serve, a leads"),
        ("L", True, "a", "a", 1, "1 of 1 voters serve, a leads"),
        ("F", False, None, "a", 1, "no member leads"),
        ("x", False, None, "", 1, "0 of 1 voters serve, 1 are needed; down: a"),
        ("SSS", False, None, "", 2, "0 of 3 voters serve, 2 are needed; down: a, b, c"),
        ("LFS", True, "a", "ab", 2, "2 of 3 voters serve, a leads"),
        ("LFO", True, "a", "ab", 2, "2 of 3 voters serve, a leads"),
        ("LOO", False, "a", "a", 2, "1 of 3 voters serve, 2 are needed; down: b, c"),
        ("LF!", True, "a", "ab", 2, "2 of 3 voters serve, a leads"),
        ("LF", True, "a", "ab", 2, "2 of 2 voters serve, a leads"),
        ("Lx", False, "a", "a", 2, "1 of 2 voters serve, 2 are needed; down: b"),
        ("LFFF", True, "a", "abcd", 3, "4 of 4 voters serve, a leads"),
        ("LFxx", False, "a", "ab", 3, "2 of 4 voters serve, 3 are needed; down: c, d"),
        ("LFFxx", True, "a", "abc", 3, "3 of 5 voters serve, a leads"),
        ("LFxx?", False, "a", "ab", 3, "2 of 5 voters serve, 3 are needed; down: c, d, e"),
        ("", True, None, "", 0, "the site has no ensemble"),
    ],
)
def test_verdict(shape: str, ok: bool, leader: str | None, serving: str, majority: int, why: str) -> None:
    found = judge(shape)
    assert (found.ok, found.leader, "".join(found.serving), found.majority, found.why) == (
        ok, leader, serving, majority, why,
    )  # fmt: skip
    assert "".join(found.problems) == "".join(name for name in found.voters if name not in serving)


@pytest.mark.parametrize(
    ("shape", "names", "allowed", "why"),
    [
        ("LFF", "b", True, "without b 2 of 3 voters would serve, 2 are needed"),
        ("LFF", "a", True, "without a 2 of 3 voters would serve, 2 are needed"),
        ("LFF", "bc", False, "without b, c 1 of 3 voters would serve, 2 are needed"),
        ("LFx", "b", False, "without b 1 of 3 voters would serve, 2 are needed"),
        ("LFx", "c", True, "without c 2 of 3 voters would serve, 2 are needed"),
        ("LF?", "a", False, "without a 1 of 3 voters would serve, 2 are needed"),
        ("LLF", "c", False, "a and b both say they lead"),
        ("Lxx", "b", False, "1 of 3 voters serve, 2 are needed; down: b, c"),
        ("LFFFF", "bc", True, "without b, c 3 of 5 voters would serve, 3 are needed"),
        ("LFFFF", "bcd", False, "without b, c, d 2 of 5 voters would serve, 3 are needed"),
        ("LFFF", "b", True, "without b 3 of 4 voters would serve, 3 are needed"),
        ("LFFF", "bc", False, "without b, c 2 of 4 voters would serve, 3 are needed"),
        ("S", "a", False, "without a 0 of 1 voters would serve, 1 are needed"),
        ("LF", "b", False, "without b 1 of 2 voters would serve, 2 are needed"),
        ("LFF", "z", True, "none of these is a voter"),
        ("xxx", "z", True, "none of these is a voter"),
        ("", "a", True, "none of these is a voter"),
    ],
)
def test_may_take_down(shape: str, names: str, allowed: bool, why: str) -> None:
    assert quorum.may_take_down(judge(shape), list(names)) == (allowed, why)


def test_answers_of_strangers_do_not_count() -> None:
    answers = {"a": ANSWERS["L"], "b": ANSWERS["F"], "zz": ANSWERS["L"], "yy": ANSWERS["F"]}
    found = quorum.verdict(["a", "b", "c"], answers)
    assert (found.ok, found.leader, found.serving, found.voters) == (True, "a", ("a", "b"), ("a", "b", "c"))


def test_a_member_named_twice_has_one_vote() -> None:
    found = quorum.verdict(["a", "a", "b", "c"], {"a": ANSWERS["L"]})
    assert (found.ok, found.voters, found.majority) == (False, ("a", "b", "c"), 2)


def test_every_sick_member_is_told_what_ails_it() -> None:
    assert dict(judge("Lx?SO").problems) == {
        "b": "ZooKeeper: nothing listens on its client port",
        "c": "ZooKeeper: not known, its host could not be asked",
        "d": "ZooKeeper: runs alone (standalone), though the site has 5 members",
        "e": "ZooKeeper: is observer, not a voter",
    }


@pytest.mark.parametrize("voters", range(1, 10))
def test_two_majorities_always_share_a_voter(voters: int) -> None:
    need = quorum.majority(voters)
    assert 2 * need > voters
    assert need <= voters
