"""make screens: the pictures of docs/screens, each from the real command on a lab that serves, under load.

It measures the lab, upgrades it, and stops a ZooKeeper member for doctor's sake. SCREENS='--site site.yml' takes a lab
that serves already, instead of one of its own; --only NAME,… draws only these.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ..bench.lab import Bench, BenchError, say, serving, until
from ..bench.switch import VERSIONS
from ..bench.traffic import flowing
from ..lab.alarms import question
from . import boards
from .pictures import drawn
from .terminal import Playing, playing

ROOT = Path(__file__).resolve().parents[2]
SCREENS = ROOT / "docs" / "screens"
RATE = 10.0
MEASURED_S = 300.0
HISTORY_S = 240.0  # what the dashboards show, when there is that much
PLACE = "/srv/site"
CONSOLE = Console()
SECTION = "\nmonitor: {scrape_interval: 5s}\n"


@dataclass(frozen=True)
class Scene:
    """A lab that serves and is measured."""

    bench: Bench
    began: float

    @contextmanager
    def plays(self, words: str, columns: int, rows: int) -> Iterator[Playing]:
        """`dsdeploy …` as it is given beside the site file."""
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, "-m", "dsdeploy", *words.split()]
        with playing(argv, self.bench.folder, environment, columns, rows) as playing_now:
            yield playing_now

    def keep(self, name: str, words: str, playing_now: Playing) -> None:
        terminal = playing_now.terminal
        lines = [elsewhere(line, str(self.bench.folder)) for line in terminal.lines()]
        write(name, drawn(lines, terminal.columns, f"dsdeploy {words}", name))

    def status(self) -> None:
        self.whole("status", f"status {self.bench.file.name}", 0)

    def watch(self) -> None:
        words = f"status {self.bench.file.name} --watch"
        with self.plays(words, 80, 24) as now:
            seen: set[str] = set()
            for frame in now.frames():
                seen |= {line for line in frame.splitlines() if line.endswith("Ctrl-C ends")}
                if len(seen) == 2:  # the second look is drawn over the first, and whole
                    break
            self.keep("watch", words, now)
            now.interrupt()

    def upgrade(self) -> None:
        text = self.bench.file.read_text()
        there = text if VERSIONS[0][0] in text else _swapped(text, back=True)
        self.bench.file.write_text(_swapped(text) if there == text else there)
        words = f"upgrade {self.bench.file.name} --yes"
        with self.plays(words, 110, 32) as now:
            now.until(r"(?s)batch 2 of 2.*: requests of \S+ go to")
            self.keep("upgrade", words, now)
            if now.end():
                raise BenchError(f"the upgrade failed:\n{now.terminal.text}")

    def doctor(self) -> None:
        host = self.bench.site.members[-1].host
        self.bench.ssh(host, "systemctl stop zookeeper")
        try:
            self.whole("doctor", f"doctor {self.bench.file.name}", 1)
        finally:
            self.bench.ssh(host, "systemctl start zookeeper")
        self.bench.whole()

    def whole(self, name: str, words: str, code: int) -> None:
        """A command that ends by itself, with all it says."""
        with self.plays(words, 110, 60) as now:
            if (ended := now.end()) != code:
                raise BenchError(f"dsdeploy {words}: exit {ended}\n{now.terminal.text}")
            self.keep(name, words, now)

    def boards(self) -> None:
        now = time.time()
        for name, picture in boards.pictures(self.ask, max(self.began, now - HISTORY_S), now):
            write(name, picture)

    def ask(self, paths: list[str]) -> list[dict[str, object]]:
        collects = self.bench.site.with_role("monitor")[0]
        answers: list[dict[str, object]] = json.loads(self.bench.ssh(collects, question(paths)))
        return answers


def elsewhere(line: Text, folder: str) -> Text:
    """The line as it were with the site's files in PLACE: where this computer keeps a lab's is nobody's matter."""
    while (at := line.plain.find(folder)) >= 0:
        line = Text.assemble(line[:at], (PLACE, line.get_style_at_offset(CONSOLE, at)), line[at + len(folder) :])
    return line


def _swapped(text: str, back: bool = False) -> str:
    for old, new in VERSIONS:
        text = text.replace(*((new, old) if back else (old, new)))
    return text


def write(name: str, picture: str) -> None:
    """Raises BenchError for a picture that tells where it was made."""
    for place in (str(ROOT), str(Path.home())):
        if place in picture:
            raise BenchError(f"{name} shows a path of this computer: {place}")
    SCREENS.mkdir(exist_ok=True)
    (SCREENS / f"{name}.svg").write_text(picture, encoding="utf-8")
    say(f"docs/screens/{name}.svg")


def measured(bench: Bench) -> bool:
    """Whether Prometheus knows of the load that flows."""
    return '"requests_per_second"' in bench.run("status", str(bench.file), "--json", codes=(0, 1))


@contextmanager
def given(file: Path | None) -> Iterator[Bench]:
    if file:
        yield Bench(file.resolve().parent)
        return
    with serving() as bench:
        bench.file.write_text(bench.file.read_text() + SECTION)
        bench.run("up", str(bench.file), "--yes")
        yield bench


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.screens")
    parser.add_argument("--site", type=Path, help="site.yml of a lab that serves and has a section monitor")
    parser.add_argument("--only", default="", help="names, with commas: status,watch,upgrade,doctor,boards")
    asked = parser.parse_args(argv)
    with given(asked.site) as bench:
        scene, router = Scene(bench, time.time()), bench.site.router
        acts: dict[str, Callable[[], None]] = {
            "status": scene.status, "watch": scene.watch, "upgrade": scene.upgrade,
            "doctor": scene.doctor, "boards": scene.boards,
        }  # fmt: skip
        only = asked.only.split(",") if asked.only else list(acts)
        with flowing(bench.folder / "screens.jsonl", f"{router.vip}:{router.port}", RATE, bench.site.model.name):
            until(lambda: measured(bench), MEASURED_S, lambda: "status knows of no requests: has the site monitor?")
            for name in only:
                acts[name]()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchError as error:
        say(str(error))
        sys.exit(2)
