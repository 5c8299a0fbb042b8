"""All pairs, each once, no host twice at a time; and who is out of line."""

from __future__ import annotations

from itertools import combinations

import pytest

from dsdeploy.fabric import matrix, tournament


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 13, 16])
def test_every_pair_meets_once_and_no_host_is_in_two_pairs_at_once(count: int) -> None:
    names = [f"gpu{number}" for number in range(count)]
    rounds = tournament.rounds(names)
    met = [frozenset(pair) for pairs in rounds for pair in pairs]
    assert sorted(map(sorted, met)) == sorted(map(sorted, combinations(names, 2)))
    for pairs in rounds:
        seen = [name for pair in pairs for name in pair]
        assert len(seen) == len(set(seen))
    assert len(rounds) == max(count - 1 + count % 2, 0)


def test_no_host_is_always_the_server() -> None:
    servers = {pair[0] for pairs in tournament.rounds(["a", "b", "c", "d"]) for pair in pairs}
    assert len(servers) > 2


def values(names: str, slow: dict[str, float]) -> dict[tuple[str, str], float]:
    return {(a, b): slow.get(a + b, 97.0) for a, b in combinations(names, 2)}


def test_a_slow_pair_is_an_outlier_and_its_hosts_are_not_suspects() -> None:
    found = values("abcd", {"bc": 60.0})
    assert matrix.outliers(found, 0.9) == (("b", "c"),)
    assert matrix.suspects(found, 0.9) == ()


def test_a_host_that_drags_all_its_pairs_down_is_named() -> None:
    found = values("abcd", {"ab": 50.0, "bc": 48.0, "bd": 51.0})
    assert matrix.outliers(found, 0.9) == (("b", "c"), ("a", "b"), ("b", "d"))
    assert matrix.suspects(found, 0.9) == ("b",)


def test_two_pairs_have_no_median_to_be_out_of() -> None:
    assert matrix.outliers({("a", "b"): 97.0, ("a", "c"): 10.0}, 0.9) == ()


def test_when_all_are_alike_nobody_is_out_of_line_however_slow() -> None:
    assert matrix.outliers(dict.fromkeys(values("abcde", {}), 3.0), 0.9) == ()


def test_the_table_shows_each_pair_twice_marks_outliers_and_says_what_is_missing() -> None:
    found = {("a", "b"): 97.25, ("c", "a"): 60.0}
    assert matrix.rows(["a", "b", "c"], found, [("c", "a")]) == [
        ["a", "·", "97.2", "60.0 !"],
        ["b", "97.2", "·", "none"],
        ["c", "60.0 !", "none", "·"],
    ]
