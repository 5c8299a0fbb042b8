"""What the health timer decides from what it saw. Pure: no host, no clock but the one it is given."""

from __future__ import annotations

from typing import Any

import pytest
from health_decide import Rules, acted, decide, fresh
from health_engine import Seen

RULES = Rules(strikes=2, window=3600.0, stall=120.0, start_timeout=600.0)
WEDGED = Seen("wedged", "blue", "no completion within 20 s", "inv1", "r1")
OK = Seen("ok", "blue", "", "inv1", "r1")


class Timer:
    """Ticks every 30 s; what is decided is done, as if it were allowed."""

    def __init__(self, **memory: Any) -> None:
        self.memory, self.now = {**fresh(), **memory}, 1_000_000.0
        self.why = ""

    def tick(self, seen: Seen, run: str = "", broken: str = "", seconds: float = 30.0) -> str:
        self.now += seconds
        found = decide(self.memory, seen, self.now, RULES, run, broken)
        self.memory, self.why = found.memory, found.why
        if found.act in ("restart", "out"):
            self.memory = {**acted(self.memory, found, seen, self.now), "slot": "/s/0"}
        elif found.act == "back":
            self.memory = {**self.memory, "slot": ""}
        return found.act

    def ticks(self, *seen: Seen) -> list[str]:
        return [self.tick(one) for one in seen]


def test_one_bad_look_is_none() -> None:
    assert Timer().ticks(WEDGED, OK, WEDGED, OK) == ["", "", "", ""]


def test_a_wedged_engine_is_restarted_once_and_taken_out_when_it_wedges_again() -> None:
    timer = Timer()
    assert timer.ticks(OK, WEDGED, WEDGED) == ["", "", "restart"]
    assert timer.memory["restarted"] == 1 and timer.memory["strikes"] == 0
    again = WEDGED._replace(invocation="inv2")
    assert timer.ticks(OK._replace(invocation="inv2"), again, again) == ["back", "", "out"]
    assert timer.memory["out"]["release"] == "r1" and "restarted 2 min ago already" in timer.why
    assert timer.ticks(Seen("stopped", "blue"), Seen("stopped", "blue")) == ["", ""] and timer.memory["out"]


def test_out_of_the_window_it_is_restarted_again() -> None:
    timer = Timer()
    assert timer.ticks(WEDGED, WEDGED) == ["", "restart"]
    assert timer.tick(OK, seconds=3601) == "back"
    assert timer.ticks(WEDGED, WEDGED) == ["", "restart"]


def test_an_engine_that_was_taken_out_and_answers_again_gives_its_permit_back() -> None:
    timer = Timer(out={"at": 1.0}, slot="/s/0")
    assert timer.tick(OK) == "back"
    assert timer.memory["out"] is None
    assert timer.tick(OK) == ""


@pytest.mark.parametrize("seen", [
    Seen("none"), Seen("two"), Seen("stopped", "blue"), Seen("refused", "blue"), Seen("slow", "blue"),
    Seen("strange", "blue"), OK,
], ids=lambda seen: seen.phase)  # fmt: skip
def test_these_are_never_acted_on_however_long_they_last(seen: Seen) -> None:
    assert set(Timer().ticks(*[seen] * 50)) == {""}


def test_nothing_is_done_while_a_run_is_under_way_and_what_was_seen_then_does_not_count() -> None:
    timer = Timer()
    assert [timer.tick(WEDGED, run="20261122T050000-77-upgrade") for _ in range(20)] == [""] * 20
    assert "run 20261122T050000-77-upgrade is under way" in timer.why
    assert timer.ticks(WEDGED, WEDGED) == ["", "restart"]


def test_a_gpu_that_no_restart_mends_takes_the_engine_out_at_once_but_only_a_wedged_one() -> None:
    timer = Timer()
    lost = "GPU 5 has fallen off the bus"
    assert [timer.tick(OK, broken=lost), timer.tick(WEDGED, broken=lost), timer.tick(WEDGED, broken=lost)] == [
        "",
        "",
        "out",
    ]
    assert lost in timer.memory["out"]["why"]


def test_a_failed_unit_is_restarted_once_too() -> None:
    failed = Seen("failed", "blue", "signal, exit 9", "inv1", "r1")
    assert Timer().ticks(failed, failed, failed, failed) == ["", "restart", "", "out"]


def start(step: int, age: float, cpu: int = 0) -> Seen:
    return Seen("starting", "blue", "loading", "inv1", "r1", work=(step, step, cpu), age=age)


def test_a_start_that_gets_on_is_waited_for() -> None:
    timer = Timer()
    assert {timer.tick(start(step, step * 30.0)) for step in range(20)} == {""}


def test_a_start_that_does_not_get_on_is_dead() -> None:
    timer = Timer()
    acts = [timer.tick(start(7, age)) for age in range(30, 210, 30)]
    assert acts == ["", "", "", "", "", "restart"]  # seen first at 30 s; 120 s later; the second look
    assert "has not got on for" in timer.why


def test_the_next_start_has_time_of_its_own() -> None:
    timer = Timer()
    for age in (30, 60, 90):
        timer.tick(start(7, age))
    assert timer.tick(start(7, 30)._replace(invocation="inv2")) == ""
    assert timer.memory["worked"] == timer.now


def test_processor_time_alone_is_progress_until_a_start_may_take_no_longer() -> None:
    timer = Timer()
    acts = [timer.tick(start(7, age, cpu=age)) for age in range(30, 690, 30)]
    assert acts[:20] == [""] * 20 and acts[20:] == ["", "restart"]


def test_what_may_not_be_done_is_wanted_again_at_the_next_look() -> None:
    memory = {**fresh(), "strikes": 1}
    first = decide(memory, WEDGED, 1.0, RULES, "", "")
    second = decide({**first.memory, "held": "min_serving"}, WEDGED, 31.0, RULES, "", "")
    assert (first.act, second.act) == ("restart", "restart")


def test_a_clock_that_was_set_back_does_not_make_restarts_last_for_ever() -> None:
    memory = {**fresh(), "restarts": [{"at": 9e9}]}
    assert decide(memory, OK, 1e9, RULES, "", "").memory["restarts"] == []
