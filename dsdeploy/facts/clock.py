"""A host's clock against the controller's."""

from __future__ import annotations

from dataclasses import dataclass

from dsdeploy.facts.fact import Fact


@dataclass(frozen=True)
class Clock:
    """`offset_s`: the host is ahead by so many seconds, known to within `uncertainty_s`.

    `synchronized` is what the kernel was told by whatever keeps time; None where nobody can say.
    """

    offset_s: float | None
    uncertainty_s: float | None
    synchronized: bool | None


class ClockFact(Fact[Clock]):
    value = Clock
    timed = True

    def command(self) -> str:
        return """
date +%s.%N
timeout 3 timedatectl show -p NTPSynchronized 2>/dev/null || timeout 3 timedatectl status
"""

    def process(self, output: list[str]) -> Clock:
        controller = output[0].split() if output else []
        middle = _seconds(controller[1]) if len(controller) == 3 else None
        there = _seconds(output[1]) if len(output) > 1 else None
        if middle is None or there is None:
            return Clock(None, None, _synchronized(output))
        return Clock(round(there - middle, 3), _seconds(controller[2]), _synchronized(output))


def _seconds(text: str) -> float | None:
    whole, _, part = text.strip().partition(".")
    if not (whole.isascii() and whole.isdecimal() and len(whole) < 16):
        return None
    return float(f"{whole}.{part}") if part.isascii() and part.isdecimal() else float(whole)


def _synchronized(output: list[str]) -> bool | None:
    """`NTPSynchronized=yes`, or in older words `NTP synchronized: yes`, `System clock synchronized: yes`."""
    for line in output:
        name, _, value = line.replace("=", ":").partition(":")
        if name.strip().lower().replace(" ", "") in ("ntpsynchronized", "systemclocksynchronized"):
            return value.strip().lower() == "yes"
    return None
