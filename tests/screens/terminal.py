"""A terminal of a fixed size: a command runs on a real pty, and what it draws is kept cell by cell."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fcntl import ioctl
from itertools import groupby
from pathlib import Path

from rich.text import Text

# control sequence, other escape, control character, or a run of text
TOKEN = re.compile(
    r"\x1b\[([0-9;?]*)([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[^\[\]]|([\r\n\b\x07])|([^\x00-\x1f\x7f]+)"
)
INCOMPLETE = re.compile(r"\x1b(?:\[[0-9;?]*|\][^\x07]*)?$")
Cell = tuple[str, str]  # a character and how it looks, as the numbers of SGR
BLANK: Cell = (" ", "")


@dataclass
class Terminal:
    """What rich and plain programs need of one: cursor, colours, erasing, scrolling, a screen of its own."""

    columns: int
    rows: int
    row: int = 0
    column: int = 0
    look: str = ""
    left: str = ""  # the begin of a sequence whose end has not come yet
    cells: list[list[Cell]] = field(default_factory=list)
    aside: list[list[Cell]] = field(default_factory=list)  # the usual screen, while there is another

    def __post_init__(self) -> None:
        self.cells = self._empty()

    def _empty(self) -> list[list[Cell]]:
        return [[BLANK] * self.columns for _ in range(self.rows)]

    def feed(self, said: str) -> None:
        text = self.left + said
        cut = INCOMPLETE.search(text)
        text, self.left = (text[: cut.start()], cut[0]) if cut else (text, "")
        for words, verb, control, letters in TOKEN.findall(text):
            if verb:
                self._do(verb, words)
            elif control == "\n":
                self._down()
            elif control:
                self.column = 0 if control == "\r" else max(0, self.column - (control == "\b"))
            for letter in letters:
                self._put(letter)

    def _put(self, letter: str) -> None:
        if self.column == self.columns:
            self.column = 0
            self._down()
        self.cells[self.row][self.column] = (letter, self.look)
        self.column += 1

    def _down(self) -> None:
        if self.row + 1 < self.rows:
            self.row += 1
        else:
            self.cells = [*self.cells[1:], [BLANK] * self.columns]

    def _do(self, verb: str, words: str) -> None:
        numbers = [int(word) for word in words.lstrip("?").split(";") if word]
        first = numbers[0] if numbers else 0
        if verb == "m":
            self.look = "" if not first else ";".join(filter(None, (self.look, words)))
        elif verb in "AB":
            self.row = max(0, min(self.rows - 1, self.row + (max(first, 1) if verb == "B" else -max(first, 1))))
        elif verb in "CD":
            self.column = max(
                0, min(self.columns - 1, self.column + (max(first, 1) if verb == "C" else -max(first, 1)))
            )
        elif verb == "H":
            wanted = [*(number - 1 for number in numbers), 0, 0]
            self.row, self.column = min(wanted[0], self.rows - 1), min(wanted[1], self.columns - 1)
        elif verb == "K":
            begin, end = {0: (self.column, self.columns), 1: (0, self.column + 1)}.get(first, (0, self.columns))
            self.cells[self.row][begin:end] = [BLANK] * (end - begin)
        elif verb == "J":
            kept = self.cells[: self.row] if not first else []
            self.cells = [*kept, *self._empty()[len(kept) :]]
        elif words == "?1049" and verb == "h":
            self.aside, self.cells = self.cells, self._empty()
        elif words == "?1049" and self.aside:
            self.cells, self.aside = self.aside, []

    def lines(self) -> list[Text]:
        """What stands there, without the empty lines at the end."""
        found = [Text.from_ansi(_ansi(row)) for row in self.cells]
        for line in found:
            line.rstrip()
        while found and not found[-1].plain:
            found.pop()
        return found

    @property
    def text(self) -> str:
        return "\n".join(line.plain for line in self.lines())


def _ansi(row: Sequence[Cell]) -> str:
    runs = ((look, "".join(letter for letter, _ in run)) for look, run in groupby(row, key=lambda cell: cell[1]))
    return "".join(f"\x1b[0;{look}m{letters}" for look, letters in runs)


@dataclass
class Playing:
    """A command on its terminal."""

    terminal: Terminal
    process: subprocess.Popen[bytes]
    descriptor: int

    def frames(self, limit: float = 900) -> Iterator[str]:
        """What stands on the terminal, after every few bytes, until the command ends. Raises TimeoutError (seconds)."""
        deadline = time.monotonic() + limit
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {limit:.0f} s; there stands:\n{self.terminal.text}")
            if not select.select([self.descriptor], [], [], 1)[0]:
                continue
            with suppress(OSError):  # Linux says EIO when the other side is gone
                if said := os.read(self.descriptor, 4096):
                    self.terminal.feed(said.decode("utf-8", "replace"))
                    yield self.terminal.text
                    continue
            return

    def until(self, wanted: str) -> None:
        """Until this pattern stands there. Raises AssertionError when the command ends before."""
        assert any(re.search(wanted, frame) for frame in self.frames()), f"no {wanted}:\n{self.terminal.text}"

    def end(self) -> int:
        """To the command's own end; its exit code."""
        for _ in self.frames():
            pass
        return self.process.wait(30)

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.end()


@contextmanager
def playing(argv: Sequence[str], cwd: Path, environment: dict[str, str], columns: int, rows: int) -> Iterator[Playing]:
    """The command on a pty of this size until the block ends."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=environment)
    os.close(theirs)
    try:
        yield Playing(Terminal(columns, rows), process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
