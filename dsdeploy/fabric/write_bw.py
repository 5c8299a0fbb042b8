"""What ib_write_bw says: its JSON, what it called JSON before 2025, and its table."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_MIB = 1024 * 1024 * 8 / 1e9  # MiB/s -> Gb/s
# perftest 4.5 wrote no JSON: keys without quotes, a comma before each closing brace
_LOOSE = re.compile(r'"?(BW_average|bw_avg|BW_peak|MsgSize|n_iterations)"?\s*:\s*([0-9]+(?:\.[0-9]+)?)')
_HEAD = re.compile(r"#bytes\s+#iterations.*BW average\[(Gb/sec|MiB/sec|MB/sec)\]")


@dataclass(frozen=True)
class Write:
    """`gbits` is None where nothing was measured; `problem` then says why."""

    gbits: float | None
    size: int = 0
    problem: str = ""


def parse(document: str, table: str) -> Write:
    """From the file it wrote and from what it printed; the file first, it was asked to report Gb/s.

    What was printed alone is enough: perftest before 4.5-0.11 (Ubuntu 20.04, CentOS 7) writes no file.
    """
    found = _document(document) or _table(table)
    return found or Write(None, problem=_complaint(table))


def _document(text: str) -> Write | None:
    try:
        read = json.loads(text)["results"]
    except (ValueError, RecursionError, KeyError, TypeError):
        read = {key: float(value) for key, value in _LOOSE.findall(text[:20_000])}
    if not isinstance(read, dict):
        return None
    average, size = read.get("BW_average", read.get("bw_avg")), read.get("MsgSize", 0)
    if not isinstance(average, int | float) or isinstance(average, bool):
        return None
    return Write(float(average), int(size) if isinstance(size, int | float) else 0)


def _table(text: str) -> Write | None:
    """The last line below the heading: with -a there are many, of growing size."""
    unit, found = "", None
    for line in text.splitlines():
        if head := _HEAD.search(line):
            unit = head[1]
            continue
        words = line.split()
        if unit and len(words) >= 5 and words[0].isdecimal() and re.fullmatch(r"[0-9]+\.[0-9]+", words[3]):
            average = float(words[3])
            found = Write(average if unit == "Gb/sec" else average * _MIB, int(words[0][:15]))
    return found


def _complaint(text: str) -> str:
    """Its own last words that are no decoration."""
    lines = [line.strip() for line in text.splitlines() if re.search(r"[A-Za-z]{3}", line)]
    told = [line for line in lines if re.search(r"[Cc]ould|[Ff]ail|[Uu]nable|[Ee]rror|not |refused", line)]
    return (told or lines or ["it printed nothing"])[-1][:200]
