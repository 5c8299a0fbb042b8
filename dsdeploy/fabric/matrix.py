"""Pairs of hosts against each other: what is out of line, and whose fault it looks like. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

Values = Mapping[tuple[str, str], float]


def outliers(values: Values, share: float) -> tuple[tuple[str, str], ...]:
    """Pairs that reach less than this share of the median of all, worst first. Fewer than three pairs have none."""
    if len(values) < 3:
        return ()
    middle = median(values.values())
    return tuple(sorted((pair for pair, value in values.items() if value < share * middle), key=lambda p: values[p]))


def suspects(values: Values, share: float) -> tuple[str, ...]:
    """Hosts most of whose pairs are out of line while the pairs without them are not: the link of that host.

    A slow host drags all its pairs down; it takes three hosts to see whose link it is.
    """
    slow = set(outliers(values, share))
    found = []
    for host in dict.fromkeys(name for pair in values for name in pair):
        own = [pair for pair in values if host in pair]
        bad = [pair for pair in own if pair in slow]
        if len(own) > 1 and len(bad) > len(own) / 2:
            found.append(host)
    return tuple(found)


def rows(names: Sequence[str], values: Values, slow: Sequence[tuple[str, str]]) -> list[list[str]]:
    """A table, each pair in both its places; an outlier carries a mark."""
    table = []
    for name in names:
        cells = [name]
        for other in names:
            pair = next((p for p in ((name, other), (other, name)) if p in values), None)
            if name == other:
                cells.append("·")
            elif pair is None:
                cells.append("none")
            else:
                cells.append(f"{values[pair]:.1f}{' !' if pair in slow else ''}")
        table.append(cells)
    return table
