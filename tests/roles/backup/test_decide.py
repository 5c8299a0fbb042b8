"""Decisions about backups: what kind is due, what may go, whose snapshot it is, may it run now."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from dsdeploy_backup import alone, decide
from dsdeploy_backup.ledger import Entry
from hypothesis import given
from hypothesis import strategies as st


def chain(*kinds: str) -> list[Entry]:
    """f: good full, i: good incremental, F and I: bad ones; numbered from 1."""
    return [
        Entry(number, f"{number:08x}", "full" if one in "fF" else "incremental", bad="flipped" if one.isupper() else "")
        for number, one in enumerate("".join(kinds), start=1)
    ]


def test_the_first_one_and_the_one_after_a_full_chain_are_full() -> None:
    assert decide.kind([], 7) == "full"
    assert decide.kind(chain("f"), 7) == "incremental"
    assert decide.kind(chain("fiiiii"), 7) == "incremental"
    assert decide.kind(chain("fiiiiii"), 7) == "full"
    assert decide.kind(chain("f"), 1) == "full"


def test_a_bad_full_does_not_count_as_one() -> None:
    assert decide.kind(chain("F"), 7) == "full"
    assert decide.kind(chain("fiiF"), 7) == "incremental"


def test_each_slice_has_its_turn() -> None:
    assert [decide.part(number, 4) for number in range(5)] == ["1/4", "2/4", "3/4", "4/4", "1/4"]


def gone(entries: list[Entry], keep: int = 3, keep_full: int = 2, offsite: bool = False) -> list[int]:
    return sorted(entry.sequence for entry in decide.forget(entries, keep, keep_full, offsite))


def test_retention_counts_only_good_ones_and_keeps_fulls_longer() -> None:
    assert gone(chain("fiiifiiii")) == [2, 3, 4, 6]
    assert gone(chain("fiiIIII")) == []  # the bad ones are not counted, and are newer than the last good full
    assert gone(chain("fiiIfi")) == [2, 4]


def test_what_is_not_offsite_yet_is_never_given_up() -> None:
    entries = chain("fiiifiiii")
    assert gone(entries, offsite=True) == []
    away = [replace(entry, offsite="x") if entry.sequence == 3 else entry for entry in entries]
    assert gone(away, offsite=True) == [3]


def test_without_a_good_full_nothing_is_given_up() -> None:
    assert gone(chain("FIiiIIIIII")) == []


@given(st.text("fiFI", max_size=40), st.integers(0, 5), st.integers(0, 5), st.booleans())
def test_the_last_good_one_and_the_last_good_full_always_stay(kinds: str, keep: int, full: int, away: bool) -> None:
    entries = chain(kinds)
    left = [entry for entry in entries if entry not in decide.forget(entries, keep, full, away)]
    good = [entry for entry in entries if entry.good]
    assert decide.newest(left) == decide.newest(entries)
    assert [e for e in left if e.good and e.kind == "full"][-1:] == [e for e in good if e.kind == "full"][-1:]


def test_snapshots_of_killed_runs_are_told_from_those_of_strangers() -> None:
    seen = [{"id": "a"}, {"id": "b", "tags": ["full", "token-77"]}, {"id": "c", "tags": ["token-66"]}, {"id": "d"}]
    assert decide.strangers(seen, {"a"}, {"77"}) == (["b"], ["c", "d"])


def test_a_switch_is_waited_for_a_preparation_is_not() -> None:
    assert decide.compatible(None, 0) == decide.GO
    assert decide.compatible({"kind": "step", "step": "build"}, 1) == decide.GO
    assert decide.compatible({"kind": "step", "step": "switch"}, 1) == decide.WAIT
    assert decide.compatible({"kind": "end", "step": "switch"}, 1) == decide.GO


# runs/<id>.jsonl of an engine host of the lab, from a side-by-side upgrade: what it was told, as the fence wrote it
ENGINE_HOST = """
{"kind":"begin","run":"20261122T051500-811-upgrade","verb":"upgrade","site":"lab","epoch":43,"from":"v1-a","version":"v2"}
{"kind":"step","at":"2026-11-22T05:15:01+00:00","epoch":43,"step":"begin","release":"v2-b","detail":{"verb":"upgrade"}}
{"kind":"step","at":"2026-11-22T05:15:02+00:00","epoch":43,"step":"weights","release":"v2-b","detail":{}}
{"kind":"step","at":"2026-11-22T05:15:08+00:00","epoch":43,"step":"build","release":"v2-b","detail":{}}
{"kind":"step","at":"2026-11-22T05:15:20+00:00","epoch":43,"step":"snapshot","release":"v2-b","detail":{}}
{"kind":"step","at":"2026-11-22T05:15:31+00:00","epoch":43,"step":"start","release":"v2-b","detail":{"release":"v2-b"}}
{"kind":"step","at":"2026-11-22T05:16:09+00:00","epoch":43,"step":"commit","release":"v2-b","detail":{}}
{"kind":"step","at":"2026-11-22T05:16:12+00:00","epoch":43,"step":"stop","release":"v2-b","detail":{}}
{"kind":"end","at":"2026-11-22T05:17:00+00:00","epoch":43,"outcome":"done","to":"v2-b","release":"v2-b","why":""}
"""


def test_an_engine_host_waits_from_the_start_to_the_end_as_it_is_not_told_of_the_switch(tmp_path: Path) -> None:
    lines, told = ENGINE_HOST.strip().splitlines(), {}
    for count, line in enumerate(lines, start=1):
        (tmp_path / "20261122T051500-811-upgrade.jsonl").write_text("\n".join(lines[:count]) + "\n")
        record, age = alone.last_record(tmp_path)
        told[json.loads(line).get("step", json.loads(line)["kind"])] = decide.compatible(record, age)
    assert [step for step, said in told.items() if said == decide.WAIT] == ["start", "commit", "stop"]
    assert told["snapshot"] == told["build"] == told["end"] == decide.GO


def test_a_run_that_died_in_its_switch_does_not_stop_backups_for_ever() -> None:
    assert decide.compatible({"kind": "step", "step": "switch"}, 86400) == decide.GO
    assert decide.compatible({"kind": "step", "step": "switch"}, -86400) == decide.GO  # the clock was set back


def test_every_step_that_is_waited_for_is_a_step_of_runs() -> None:
    from dsdeploy import points

    assert decide.SWITCHING <= points.NAMES
    moving = {step.name for step in points.STEPS if "switched to" in step.leaves or "other hosts" in step.leaves}
    assert moving <= decide.SWITCHING


def test_a_snapshot_is_named_by_its_number_or_the_start_of_its_id() -> None:
    entries = chain("fii")
    assert decide.chosen(entries, "") == entries[2]
    assert decide.chosen(entries, "2") == entries[1]
    assert decide.chosen(entries, "00000001") == entries[0]
    assert decide.chosen(entries, "0000000") is None
    assert decide.chosen(entries, "9") is None
