"""The times routers keep, from the silence a site allows."""

from __future__ import annotations

import pytest

from dsdeploy import failover

# What the checks themselves take: the interval to the first late one, the shorter one to the second, the farewell.
ENGINE_MS, ROUTER_MS = 100 + 20, 50 + 20 + 30
FEWEST_ADVERTS = 3


@pytest.mark.parametrize("silence_s", [0.5, 0.75, 3.0, 30.0])
def test_whatever_falls_silent_is_replaced_in_time(silence_s: float) -> None:
    times, allowed_ms = failover.times(silence_s), silence_s * 1000
    assert 2 * times["router_check_timeout_ms"] + max(ENGINE_MS, ROUTER_MS) < allowed_ms
    # a backup waits for three adverts and its skew, less than one more (RFC 9568, 6.1)
    assert (FEWEST_ADVERTS + 1) * times["router_advert_ms"] < allowed_ms
    assert times["router_connect_timeout_ms"] < allowed_ms


def test_the_usual_times_are_the_roles_own() -> None:
    assert failover.times(0.5) == {
        "router_check_timeout_ms": 150, "router_advert_ms": 100, "router_connect_timeout_ms": 100,
    }  # fmt: skip
