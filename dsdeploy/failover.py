"""From the silence that a site allows to the times that the routers keep."""

from __future__ import annotations

# What the checks' own intervals take of it, and the farewell of a router that gives the address away: 20 + 100 ms
# for an engine, 50 + 20 + 30 ms for a router, and a reserve. See roles/router/README.md, "Fail-over".
_BETWEEN_MS = 200
_CHECKS = 2  # one late answer decides nothing
_ADVERTS = 5  # three that do not come, and up to one for the skew


def times(silence_s: float) -> dict[str, int]:
    """Variables of the router role, all in milliseconds, for `router.failover` (seconds, 0.5 to 30).

    An engine or a HAProxy that dies is seen by a refused connection, in the same 100 ms whatever the site allows.
    """
    silence_ms = round(silence_s * 1000)
    return {
        "router_check_timeout_ms": (silence_ms - _BETWEEN_MS) // _CHECKS,
        "router_advert_ms": silence_ms // _ADVERTS,
        "router_connect_timeout_ms": silence_ms // _ADVERTS,
    }
