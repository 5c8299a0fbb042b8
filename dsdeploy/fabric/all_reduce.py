"""What all_reduce_perf (nccl-tests) says, as JSON and as its table; our own program for pairs says the same JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

# size count type [redop] [root] then twice: time algbw busbw wrong; older ones have an error instead of a count
_FIGURE = r"[0-9]{1,12}(?:\.[0-9]{1,6})?(?:e\+?[0-9]{1,2})?"
_ROW = re.compile(
    r"\s*(?P<size>[0-9]{1,18})\s+[0-9]+\s+[a-z][a-z0-9_]*\s+(?:[a-z]+\s+)?(?:-?[0-9]+\s+)?"
    rf"{_FIGURE}\s+{_FIGURE}\s+(?P<out>{_FIGURE})\s+(?P<wrong>\S+)"
    rf"(?:\s+{_FIGURE}\s+{_FIGURE}\s+(?P<in>{_FIGURE})\s+(?P<wrong_in>\S+))?\s*"
)
_BAD = re.compile(r"# Out of bounds values : ([0-9]+) FAILED")
_COMPLAINT = re.compile(r"NCCL failure|CUDA failure|[Ee]rror|Invalid|failed|not found|unhandled|Traceback")


@dataclass(frozen=True)
class AllReduce:
    """`bus` is the bus bandwidth at the largest size, GB/s; None where nothing was measured.

    The mean over all sizes is not taken: small ones measure latency. `wrong` counts values that came out wrong.
    """

    bus: float | None
    size: int = 0
    wrong: int = 0
    problem: str = ""


def parse(document: str, table: str) -> AllReduce:
    """The document first; nccl-tests before 2.17 write none."""
    return _document(document) or _table(table) or AllReduce(None, problem=_complaint(table or document))


def _document(text: str) -> AllReduce | None:
    try:
        rows = json.loads(text)["results"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    if not isinstance(rows, list):
        return None
    found = [row for row in rows if isinstance(row, dict) and isinstance(row.get("size"), int)]
    if not found:
        return None
    last = max(found, key=lambda row: int(row["size"]))
    sides = [side for key in ("out_of_place", "in_place") if isinstance(side := last.get(key), dict)]
    buses = [bus for side in sides if isinstance(bus := side.get("bus_bw"), int | float)]
    every = [side for row in found for key in ("out_of_place", "in_place") if isinstance(side := row.get(key), dict)]
    wrong = int(sum(_number(side.get("nwrong")) for side in every))
    return AllReduce(max(buses), int(last["size"]), wrong) if buses else None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _table(text: str) -> AllReduce | None:
    rows = [found for line in text.splitlines() if (found := _ROW.fullmatch(line[:300]))]
    if not rows:
        return None
    last = max(rows, key=lambda row: int(row["size"]))
    bad = _BAD.search(text)
    counted = sum(int(row[key]) for row in rows for key in ("wrong", "wrong_in") if (row[key] or "").isdecimal())
    buses = [float(last[key]) for key in ("out", "in") if last[key]]
    return AllReduce(max(buses), int(last["size"]), int(bad[1]) if bad else counted)


def _complaint(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if _COMPLAINT.search(line)]
    return (told or lines or ["it printed nothing"])[-1][:200]
