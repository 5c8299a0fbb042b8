"""Rows: printed as they come, kept as JSON lines, added up at the end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .crash import Row

HERE = Path(__file__).resolve().parent
SEEN = HERE / "seen.jsonl"  # rows of earlier runs that are kept with the suite, each with its commit
HEAD = f"{'case':<58} {'killed':>7} {'finished':>9} {'requests':>9} {'failed':>7}  verdict"


def line(row: Row) -> str:
    """One row of the table; what is wrong stands below it."""
    shown = f"{row.case:<58} {row.killed_s:>6.1f}s {row.finished_s:>8.1f}s {row.requests:>9} {row.failed:>7}"
    return "\n".join([f"{shown}  {'ok' if row.ok else 'NOT OK'}", *(f"    {text}" for text in row.wrong)])


def table(rows: Sequence[Row], unreached: dict[str, str]) -> str:
    points = [f"not a case: {point} ({why})" for point, why in unreached.items()]
    return "\n".join([HEAD, *(line(row) for row in rows), *points])


def total(rows: Sequence[Row], skipped: int) -> dict[str, Any]:
    """The last line."""
    return {
        "suite": "faults", "ok": all(row.ok for row in rows) and bool(rows or skipped), "cases": len(rows),
        "done_before": skipped, "not_ok": [row.case for row in rows if not row.ok],
        "requests": sum(row.requests for row in rows), "failed": sum(row.failed for row in rows),
        "longest_silence_ms": max((row.silence_ms for row in rows), default=0.0),
    }  # fmt: skip


def keep(path: Path, row: Row) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps({**row.record(), "commit": commit()}) + "\n")


def commit() -> str:
    """What was tested; with a + where files differ from it, "" outside of a checkout."""
    said = [
        subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=False)
        for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    ]
    return said[0].stdout.strip() + ("+" if said[1].stdout.strip() else "") if not said[0].returncode else ""


def held(path: Path) -> set[str]:
    """Names of the cases that an earlier run saw to hold."""
    records = [json.loads(text) for text in path.read_text().splitlines()]
    return {record["case"] for record in records if record["ok"]}
