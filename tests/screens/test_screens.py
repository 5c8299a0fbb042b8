"""The pictures in docs are there, whole, and made by commands that exist; a terminal draws what a real one would."""

from __future__ import annotations

import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from . import boards, pictures
from .__main__ import ROOT, SCREENS, elsewhere
from .terminal import Terminal, playing

SVG = "{http://www.w3.org/2000/svg}"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = {
    (page, name)
    for page in PAGES
    for name in re.findall(r"!\[[^\]]+\]\((?:docs/)?screens/([\w-]+)\.svg\)", page.read_text(encoding="utf-8"))
}
FILES = sorted(SCREENS.glob("*.svg"))


def words(picture: Path) -> str:
    """All text in it. Raises ParseError when it is not well formed."""
    root = ET.fromstring(picture.read_text(encoding="utf-8"))
    assert root.tag == f"{SVG}svg"
    return "\n".join((text.text or "").replace("\xa0", " ") for text in root.iter(f"{SVG}text"))


def test_every_picture_is_shown_in_docs_and_every_one_shown_is_there() -> None:
    assert {name for _, name in SHOWN} == {path.stem for path in FILES}


@pytest.mark.parametrize("page", sorted({page for page, _ in SHOWN}), ids=lambda page: page.name)
def test_a_page_with_pictures_names_the_command_that_makes_them(page: Path) -> None:
    assert "make screens" in page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"(?m)^screens:.*\n\t.*python -m tests\.screens\b", makefile)


@pytest.mark.parametrize("picture", FILES, ids=lambda path: path.stem)
def test_a_picture_is_whole_has_nothing_from_elsewhere_and_no_path_of_a_computer(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    assert len(words(picture)) > 100
    named = {url for url in re.findall(r"https?://[\w./-]+", text) if not url.startswith("http://10.90.")}  # the lab's
    assert named <= {"http://www.w3.org/2000/svg"}
    assert re.findall(r"(?:/tmp|/root|/home|/work)\b", text) == [] and "BEGIN " not in text
    assert "<script" not in text and "Traceback" not in text


@pytest.mark.parametrize("name", [path.stem for path in FILES if path.stem in ("status", "watch", "upgrade", "doctor")])
def test_a_picture_of_a_terminal_says_which_command_it_is(name: str) -> None:
    assert words(SCREENS / f"{name}.svg").startswith(f"dsdeploy {'status' if name == 'watch' else name} site.yml")


@pytest.mark.parametrize(
    "board",
    [path for path in boards.boards() if SCREENS / f"board-{path.stem}.svg" in FILES],
    ids=lambda path: path.stem,
)
def test_a_dashboards_picture_has_its_panels_and_values(board: Path) -> None:
    text = words(SCREENS / f"board-{board.stem}.svg")
    panels = json.loads(board.read_text(encoding="utf-8"))["panels"]
    assert [panel["title"] for panel in panels if panel["title"] not in text] == []
    assert text.count("no data") <= len(panels) / 2  # of GPUs and InfiniBand a lab has none


def test_where_a_lab_keeps_its_files_is_not_in_a_picture() -> None:
    line = elsewhere(Text("-i /tmp/lab-x/id -o Known=/tmp/lab-x/known", style="bold"), "/tmp/lab-x")
    assert line.plain == "-i /srv/site/id -o Known=/srv/site/known"


def shown(said: str, columns: int = 10, rows: int = 3) -> list[str]:
    terminal = Terminal(columns, rows)
    for letter in said:  # a sequence may come in pieces
        terminal.feed(letter)
    return [line.plain for line in terminal.lines()]


@pytest.mark.parametrize(
    ("said", "stands"),
    [
        ("one\r\ntwo", ["one", "two"]),
        ("one\rTW", ["TWe"]),
        ("0123456789ab", ["0123456789", "ab"]),
        ("1\r\n2\r\n3\r\n4", ["2", "3", "4"]),
        ("one\r\ntwo\x1b[1A\x1b[2K\rnew", ["new", "two"]),
        ("a\r\nb\r\nc\x1b[H\x1b[Jx", ["x"]),
        ("abc\x1b[2;3Hd\x1b[1D\x1b[K", ["abc"]),
        ("before\x1b[?1049h\x1b[Hother\x1b[?1049l", ["before"]),
        ("before\x1b[?1049h\x1b[Hother", ["other"]),
        ("\x1b]0;title\x07\x1b[?25la\x1b[1;31mb\x1b[0mc", ["abc"]),
    ],
)
def test_a_terminal_keeps_what_would_stand_there(said: str, stands: list[str]) -> None:
    assert shown(said) == stands


def test_colours_are_those_that_were_said() -> None:
    terminal = Terminal(20, 2)
    terminal.feed("\x1b[1m\x1b[32mgood\x1b[0m bad")
    (line,) = terminal.lines()
    (span,) = line.spans
    assert line.plain[span.start : span.end] == "good" and str(span.style) == "bold color(2)"
    picture = ET.fromstring(pictures.drawn([line], 20, "a < b", "n"))
    said = [(text.text or "").strip() for text in picture.iter(f"{SVG}text")]
    assert said[:3] == ["a\xa0<\xa0b", "good", "bad"]


def test_a_command_is_seen_while_it_runs_and_at_its_end(tmp_path: Path) -> None:
    code = "import time; print('now', end='', flush=True); time.sleep(1); print('\\r' + 'x' * 25)"
    with playing([sys.executable, "-c", code], tmp_path, dict(os.environ), 20, 5) as now:
        now.until("now")
        assert now.terminal.text == "now"
        assert now.end() == 0
    assert now.terminal.text == "x" * 20 + "\n" + "x" * 5


def test_a_command_that_ends_before_is_told(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "print('other')"]
    with playing(argv, tmp_path, dict(os.environ), 20, 5) as now, pytest.raises(AssertionError, match="other"):
        now.until("never")


PANEL = {
    "title": "a < b", "type": "timeseries", "gridPos": {"x": 0, "y": 0, "w": 12, "h": 8},
    "fieldConfig": {"defaults": {"unit": "percentunit"}},
    "targets": [{"expr": 'x{host=~"$host"}', "legendFormat": "{{host}} {{gpu}}"}],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["timeseries", "state-timeline", "table"])
def test_a_panel_is_drawn_from_what_prometheus_answers(kind: str) -> None:
    asked: list[str] = []

    def ask(paths: Sequence[str]) -> list[dict[str, Any]]:
        asked.extend(paths)
        series = {"metric": {"host": "<h>"}, "values": [[1000, "0.5"], [1010, "NaN"], [1020, "1"]]}
        return [{"status": "success", "data": {"result": [series]}}]

    panels = boards.filled({"panels": [PANEL | {"type": kind}]}, ask, 1000, 1120)
    assert panels[0].curves[0].name == "<h>" and "query=x%7Bhost%3D~%22.%2A%22%7D&start=1000&end=1120" in asked[0]
    text = "".join(ET.fromstring(boards.drawn("t", panels, 1000, 1120)).itertext())
    assert "a < b" in text and "<h>" in text and ("100 %" in text or kind == "state-timeline")


def test_a_query_that_fails_makes_no_picture() -> None:
    with pytest.raises(ValueError, match="parse error"):
        boards.filled({"panels": [PANEL]}, lambda paths: [{"status": "error", "error": "parse error"}], 0, 9)


def test_a_panel_without_data_says_so() -> None:
    panels = boards.filled({"panels": [PANEL]}, lambda paths: [{"status": "success", "data": {"result": []}}], 0, 9)
    assert "no data" in boards.drawn("t", panels, 0, 9)


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.5, "percentunit", "50 %"), (0.0042, "s", "4.2 ms"), (7200, "s", "2 h"), (0, "s", "0 s"),
        (3 * 2**20, "bytes", "3 MiB"), (1536, "Bps", "1.5 KiB/s"), (9.96, "reqps", "9.96 /s"), (3, "short", "3"),
    ],
)  # fmt: skip
def test_a_value_has_its_unit(value: float, unit: str, said: str) -> None:
    assert boards.written(value, unit) == said


def test_a_legend_is_filled_from_labels() -> None:
    assert boards.legend("{{host}} {{gpu}} up", {"host": "gpu1"}) == "gpu1 up"


def test_lines_that_are_too_long_are_cut_at_the_terminals_width() -> None:
    assert "x" * 30 not in pictures.drawn([Text("x" * 30)], 20, "t", "n")
