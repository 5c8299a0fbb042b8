"""Every word the user sees.

Results go to stdout, progress and errors to stderr, so that `--json` and pipes
stay clean. Colour appears only on a terminal (rich also honours NO_COLOR).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from time import monotonic
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dsdeploy.errors import Problem

Say = Callable[[str], None]
LOG_SECONDS = 30.0
PIPE_WIDTH = 1000


@cache
def console() -> Console:
    """Where results go: stdout. A file or a pipe has no width that a table would have to be cut to."""
    terminal = sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=not terminal, width=None if terminal else PIPE_WIDTH)


@cache
def progress() -> Console:
    """Where progress and errors go: stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(text: str) -> None:
    """A line of result, printed as it is: no markup is read from it."""
    console().print(Text(text))


def note(text: str, style: str = "") -> None:
    """A line of progress."""
    progress().print(Text(text, style=style))


def emit_json(value: Any) -> None:
    """The whole answer as one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table as wide as the terminal; an empty one is not printed."""
    if rows:
        console().print(grid(columns, rows, title))


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Table:
    """The same, not yet printed."""
    made = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


@contextmanager
def screen() -> Iterator[Callable[[Sequence[RenderableType]], None]]:
    """A screen of its own, which the function it yields draws over in place; at the end the terminal is as it was."""
    with Live(console=console(), screen=True, auto_refresh=False) as live:
        yield lambda parts: live.update(Group(*parts), refresh=True)


def errors(problems: Sequence[Problem]) -> None:
    """`error / at / try` for each problem, on stderr."""
    for problem in problems:
        _labelled("error", problem.what, "bold red")
        if problem.where:
            _labelled("   at", problem.where)
        if problem.hint:
            _labelled("  try", problem.hint, "bold")


def _labelled(label: str, text: str, style: str = "") -> None:
    """The text's further lines are set under its first."""
    lines = text.splitlines() or [""]
    first = Text(f"{label}: ", style=style) + Text(lines[0], style="")
    progress().print(first)
    for line in lines[1:]:
        progress().print(Text(" " * (len(label) + 2) + line))


def problem_dict(problem: Problem) -> dict[str, str]:
    """The same three lines for `--json`."""
    return {"error": problem.what, "at": problem.where, "try": problem.hint}


@contextmanager
def step(title: str) -> Iterator[Say]:
    """A step with its elapsed time: one line when it starts, live on a terminal, one when it ends.

    Yields a function that replaces the text shown beside the title.
    """
    started = monotonic()
    out = progress()
    if out.is_terminal:
        with out.status(Text(title)) as status:
            yield lambda text: status.update(Text(f"{title}  {text}"))
    else:
        note(f"... {title}")
        yield _now_and_then(title)
    note(f"ok  {title}  ({monotonic() - started:.1f} s)", style="green")


def silent(text: str) -> None:
    """Says nothing: for a step that is not shown."""


def _now_and_then(title: str) -> Say:
    """Without a terminal there is no line to redraw: one line in a while is enough for a log."""
    last = monotonic()

    def say(text: str) -> None:
        nonlocal last
        if monotonic() - last >= LOG_SECONDS:
            last = monotonic()
            note(f"... {title}: {text}")

    return say


def size(count: float) -> str:
    """Bytes as a person reads them: 3.6 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} TiB"


def confirm(question: str) -> bool:
    """Ask on the terminal; without one the answer is no."""
    if not sys.stdin.isatty():
        return False
    return console().input(Text(f"{question} [y/N] ")).strip().lower() in ("y", "yes")
