"""All pairs of hosts in rounds, no host in two pairs at once: each link is measured alone."""

from __future__ import annotations

from collections.abc import Sequence

Pair = tuple[str, str]


def rounds(names: Sequence[str]) -> list[list[Pair]]:
    """Every two names meet once: n - 1 rounds for an even number, n (one name rests) for an odd one.

    The circle method: the first name stays, the others move one place on from round to round. Who is named
    first in a pair changes, so that no host is always the server.
    """
    circle: list[str | None] = [*names, *([None] if len(names) % 2 else [])]
    found = []
    for number in range(len(circle) - 1):
        half = len(circle) // 2
        meet = zip(circle[:half], reversed(circle[half:]), strict=True)
        pairs = [(a, b) if (number + place) % 2 == 0 else (b, a) for place, (a, b) in enumerate(meet)]
        found.append([(a, b) for a, b in pairs if a is not None and b is not None])
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return found
