"""The dashboards of the role monitor as pictures: their panels, each with what Prometheus answers to its queries.

Drawn by us, not by Grafana: titles, places, units, queries and legends are the dashboards' own files'.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "roles" / "monitor" / "files" / "grafana"
POINTS = 120  # of a curve
COLUMN, ROW, HEAD = 46, 26, 44  # pixels of a column and a row of Grafana's grid of 24, and above it
LEGEND = 5  # curves that are named below a panel; the others are counted
COLOURS = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#b877d9", "#37872d", "#fade2a", "#5794f2", "#ffa6b0")

Ask = Callable[[Sequence[str]], list[dict[str, Any]]]  # paths of Prometheus' API to its answers


@dataclass(frozen=True)
class Curve:
    """`points` are (seconds since 1970, value)."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """`place` is x, y, width and height in Grafana's grid."""

    title: str
    kind: str
    unit: str
    place: tuple[int, int, int, int]
    curves: tuple[Curve, ...]


def boards() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def filled(board: Mapping[str, Any], ask: Ask, since: float, until: float) -> list[Panel]:
    """Every panel of a dashboard with its curves between two moments. Raises ValueError for a query that fails."""
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    step = max(1, round((until - since) / POINTS))
    words = {"start": f"{since:.0f}", "end": f"{until:.0f}", "step": f"{step}"}
    queries = [urlencode({"query": target["expr"].replace("$host", ".*"), **words}) for target in targets]
    answers = iter(ask([f"/api/v1/query_range?{query}" for query in queries]))
    return [_panel(panel, [(target, next(answers)) for target in panel["targets"]]) for panel in board["panels"]]


def _panel(panel: Mapping[str, Any], answered: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Panel:
    curves = []
    for target, answer in answered:
        if answer["status"] != "success":
            raise ValueError(f"{target['expr']}: {answer.get('error')}")
        for series in answer["data"]["result"]:
            points = ((float(at), float(value)) for at, value in series["values"])
            curves.append(Curve(legend(target["legendFormat"], series["metric"]), tuple(points)))
    place = panel["gridPos"]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    return Panel(panel["title"], panel["type"], unit, (place["x"], place["y"], place["w"], place["h"]), tuple(curves))


def legend(form: str, labels: Mapping[str, str]) -> str:
    return " ".join(re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), form).split())


def written(value: float, unit: str) -> str:
    """A value as a person reads it in this unit of Grafana's."""
    if math.isnan(value):
        return "-"
    if unit == "percentunit":
        return f"{100 * value:.4g} %"
    if unit == "s":
        large = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
        factor, word = next(((f, w) for f, w in large if abs(value) >= f), (0.001, "ms"))
        return f"{value / factor:.3g} {word}" if value else "0 s"
    if unit in ("bytes", "Bps"):
        steps = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
        factor, word = next(((f, w) for f, w in steps if abs(value) >= f), (1, "B"))
        return f"{value / factor:.3g} {word}{'/s' if unit == 'Bps' else ''}"
    return f"{value:.3g}{' /s' if unit == 'reqps' else ''}"


def drawn(title: str, panels: Sequence[Panel], since: float, until: float) -> str:
    """The whole dashboard."""
    height = HEAD + ROW * max(panel.place[1] + panel.place[3] for panel in panels)
    begin, end = (datetime.fromtimestamp(at, timezone.utc).strftime("%H:%M:%S") for at in (since, until))
    lines = [
        f'<svg viewBox="0 0 {24 * COLUMN} {height}" xmlns="http://www.w3.org/2000/svg">',
        "<style>text { font-family: sans-serif; font-size: 12px; fill: #ccccdc; } .faint { fill: #8e8e99; }</style>",
        f'<rect width="{24 * COLUMN}" height="{height}" fill="#111217"/>',
        f'<text x="10" y="28" style="font-size:18px;font-weight:bold">{escape(title)}</text>',
        f'<text x="{24 * COLUMN - 10}" y="28" text-anchor="end" class="faint">{begin} to {end}, UTC</text>',
    ]
    for panel in panels:
        x, y, wide, high = panel.place
        lines.append(f'<g transform="translate({x * COLUMN + 4}, {HEAD + y * ROW})">')
        lines += _framed(panel, wide * COLUMN - 8, high * ROW - 8, since, until)
        lines.append("</g>")
    return "\n".join([*lines, "</svg>"]) + "\n"


def _framed(panel: Panel, width: int, height: int, since: float, until: float) -> Iterator[str]:
    yield f'<rect width="{width}" height="{height}" fill="#181b1f" stroke="#2c3235"/>'
    yield f'<text x="10" y="19" style="font-weight:bold">{escape(panel.title)}</text>'
    if not panel.curves:
        yield f'<text x="{width / 2:g}" y="{height / 2:g}" text-anchor="middle" class="faint">no data</text>'
    elif panel.kind == "table":
        yield from _table(panel, width)
    elif panel.kind == "state-timeline":
        yield from _states(panel, width, height, since, until)
    else:
        yield from _curves(panel, width, height, since, until)


def _table(panel: Panel, width: int) -> Iterator[str]:
    for number, curve in enumerate(panel.curves[:6]):
        y = 44 + 22 * number
        yield f'<text x="10" y="{y}">{escape(curve.name)}</text>'
        value = written(curve.points[-1][1], panel.unit)
        yield f'<text x="{width - 10}" y="{y}" text-anchor="end">{value}</text>'


def _states(panel: Panel, width: int, height: int, since: float, until: float) -> Iterator[str]:
    """A bar a series, green while its value is 1."""
    room = min(24.0, (height - 34) / len(panel.curves))
    left, span, step = 200, width - 210, max(1, round((until - since) / POINTS))
    for number, curve in enumerate(sorted(panel.curves, key=lambda one: one.name)):
        y = 30 + room * number
        yield f'<text x="10" y="{y + room / 2 + 3:g}">{escape(curve.name[:32])}</text>'
        for (at, value), (later, _) in zip(curve.points, (*curve.points[1:], (until, 0.0)), strict=True):
            lasts = min(later - at, step)  # where Prometheus knows nothing there is no bar
            x, wide = left + span * (at - since) / (until - since), span * lasts / (until - since)
            colour = COLOURS[0] if value == 1 else "#3d4148"
            yield f'<rect x="{x:.1f}" y="{y:g}" width="{wide:.2f}" height="{room - 4:g}" fill="{colour}"/>'


def _curves(panel: Panel, width: int, height: int, since: float, until: float) -> Iterator[str]:
    values = [value for curve in panel.curves for _, value in curve.points if not math.isnan(value)]
    low, high = min(0.0, *values, 0.0), max(values, default=1.0)
    high = high if high > low else low + 1
    left, top, wide, tall = 70, 30, width - 82, height - 82
    for part in (0, 0.5, 1):
        y = top + tall * (1 - part)
        yield f'<line x1="{left}" x2="{left + wide}" y1="{y:g}" y2="{y:g}" stroke="#2c3235"/>'
        label = written(low + (high - low) * part, panel.unit)
        yield f'<text x="{left - 6}" y="{y + 4:g}" text-anchor="end" class="faint">{label}</text>'
    for number, curve in enumerate(panel.curves):
        places = (
            f"{left + wide * (at - since) / (until - since):.1f},{top + tall * (high - value) / (high - low):.1f}"
            for at, value in curve.points
            if not math.isnan(value)
        )
        colour = COLOURS[number % len(COLOURS)]
        yield f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    yield from _legend(panel, top + tall + 18, width)


def _legend(panel: Panel, y: int, width: int) -> Iterator[str]:
    """Two to a line, each with its last value."""
    shown = panel.curves if len(panel.curves) <= LEGEND + 1 else panel.curves[:LEGEND]
    for number, curve in enumerate(shown):
        x, down = 10 + (number % 2) * (width // 2), y + 14 * (number // 2)
        text = f"{curve.name[:44]}  {written(curve.points[-1][1], panel.unit)}"
        yield f'<rect x="{x}" y="{down - 8}" width="10" height="4" fill="{COLOURS[number % len(COLOURS)]}"/>'
        yield f'<text x="{x + 16}" y="{down}">{escape(text)}</text>'
    if len(shown) < len(panel.curves):
        x, down = 26 + (LEGEND % 2) * (width // 2), y + 14 * (LEGEND // 2)
        yield f'<text x="{x}" y="{down}" class="faint">and {len(panel.curves) - len(shown)} more</text>'


def pictures(ask: Ask, since: float, until: float) -> Iterator[tuple[str, str]]:
    """(name, picture) of each dashboard."""
    for path in boards():
        board = json.loads(path.read_text(encoding="utf-8"))
        yield f"board-{path.stem}", drawn(board["title"], filled(board, ask, since, until), since, until)
