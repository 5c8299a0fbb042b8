"""What a history says: counts, latencies, gaps, and which release answered when. Nothing here reads a clock."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

from .history import Request, missing

LATE_S = 0.5  # an answer that a caller waited longer for counts into the gap


@dataclass(frozen=True)
class Window:
    """A release may answer requests that were sent from `since` to `until` (seconds since 1970)."""

    release: str
    since: float
    until: float


@dataclass(frozen=True)
class Gap:
    """What callers saw of one fault; milliseconds and counts.

    silence_ms: longest time in which no good answer ended. dark_ms: longest stretch of due times whose requests failed
    or waited LATE_S; the first stretch counts from the fault. wait_ms: the longest that a request of that moment
    waited for its answer's head and then got a good one. old: failures on connections to what died, whenever they
    were used. after: failures of requests begun more than LATE_S after the fault that cannot blame such a connection.
    lag_ms: the longest that the generator itself was late: what no fault does, but a computer that is too busy.
    """

    silence_ms: float
    dark_ms: float
    wait_ms: float
    failed: int
    failed_idempotent: int
    late: int
    old: int
    after: int
    truncated: int
    retried: int
    lag_ms: float


def summary(history: Sequence[Request]) -> dict[str, Any]:
    """Everything about a history that is one number, for the JSON line of a bench."""
    failed = [request for request in history if not request.ok]
    waits = sorted(request.latency for request in history if request.ok)
    return {
        "requests": len(history),
        "missing": missing(history),
        "failed": len(failed),
        "failed_idempotent": sum(request.idempotent for request in failed),
        "truncated": sum(request.truncated for request in history),
        "retried": sum(request.retried for request in history),
        "kinds": dict(sorted(Counter(request.kind for request in history).items())),
        "kept_alive": sum(request.kept for request in history),
        "reused": sum(request.reused for request in history),
        "p50_ms": _ms(percentile(waits, 50)),
        "p99_ms": _ms(percentile(waits, 99)),
        "max_ms": _ms(percentile(waits, 100)),
        "silence_ms": _ms(silence(history)),
        "generator_lag_ms": _ms(lag(history)),
        "errors": dict(Counter(request.error for request in failed).most_common(8)),
    }


def releases(history: Iterable[Request]) -> dict[str, dict[str, Any]]:
    """release -> answers, and when the first and the last request it answered were sent."""
    sent: defaultdict[str, list[float]] = defaultdict(list)
    for request in history:
        if request.release and request.sent is not None:
            sent[request.release].append(request.sent)
    return {name: {"answers": len(at), "first": min(at), "last": max(at)} for name, at in sorted(sent.items())}


def outside(history: Iterable[Request], windows: Sequence[Window]) -> tuple[Request, ...]:
    """Requests answered by a release that was not to answer when they were sent. No release named: no matter."""
    allowed: defaultdict[str, list[Window]] = defaultdict(list)
    for window in windows:
        allowed[window.release].append(window)
    return tuple(
        request
        for request in history
        if request.release
        and request.sent is not None
        and not any(window.since <= request.sent <= window.until for window in allowed[request.release])
    )


def unnamed(history: Iterable[Request]) -> int:
    """Good answers that do not say which release gave them."""
    return sum(request.ok and not request.release for request in history)


def lag(history: Iterable[Request]) -> float:
    """How late the generator itself was at worst, in seconds."""
    return max((request.begun - request.due for request in history), default=0.0)


def silence(history: Iterable[Request]) -> float:
    """Longest time, in seconds, in which no good answer ended; from the first due time to the last end."""
    requests = list(history)
    if not requests:
        return 0.0
    ends = (request.end for request in requests if request.ok)
    dues = [request.due for request in requests]
    marks = sorted([min(dues), *ends, max(dues)])
    return max(later - earlier for earlier, later in pairwise(marks))


def gap(history: Sequence[Request], fault: float, severed: bool) -> Gap:
    """What a fault at this time did. `severed`: it took the callers' own connections with it (a router's does)."""
    seen = [request for request in history if request.end >= fault]
    failed = [request for request in seen if not request.ok]
    late = [request for request in seen if request.ok and request.wait >= LATE_S]
    old = [request for request in failed if severed and request.opened is not None and request.opened < fault]
    new = [request for request in failed if request not in old]
    waits = [request.wait for request in seen if request.ok and request.due < fault + LATE_S]
    return Gap(
        silence_ms=_ms(silence(seen)),
        dark_ms=_ms(_dark([request.due for request in (*new, *late)], fault)),
        wait_ms=_ms(max(waits, default=0.0)),
        failed=len(failed),
        failed_idempotent=sum(request.idempotent for request in failed),
        late=len(late),
        old=len(old),
        after=sum(request.begun > fault + LATE_S for request in new),
        truncated=sum(request.truncated for request in seen),
        retried=sum(request.retried for request in seen),
        lag_ms=_ms(lag(seen)),
    )


def _dark(dues: Iterable[float], fault: float) -> float:
    """Longest stretch of bad due times that are less than LATE_S apart, in seconds."""
    longest, since, until = 0.0, fault, fault
    for due in sorted(due for due in dues if due >= fault):
        if due - until >= LATE_S:
            since = due
        until = due
        longest = max(longest, until - since)
    return longest


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of them do not exceed; 0 of none."""
    if not ordered:
        return 0.0
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
