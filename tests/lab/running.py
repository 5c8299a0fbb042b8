"""A command of the operator's that goes on while a test does something to it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

POLL_S = 0.05


@dataclass
class Running:
    """A command of dsdeploy that has been started; `log` has what it prints."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def text(self) -> str:
        return self.log.read_text()

    def until(self, words: str, seconds: float = 240) -> None:
        """Wait until it prints these words."""
        deadline = monotonic() + seconds
        while words not in self.text():
            assert self.process.poll() is None, f"it ended before it said {words!r}:\n{self.text()[-6000:]}"
            assert monotonic() < deadline, f"it did not say {words!r}:\n{self.text()[-6000:]}"
            sleep(POLL_S)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self, code: int, seconds: float = 600) -> str:
        """What it printed, all of it; fails the test unless it ends with this code."""
        found = self.process.wait(timeout=seconds)
        text = self.text()
        assert found == code and "Traceback" not in text, f"exit {found}, {code} was expected\n{text[-8000:]}"
        return text


@contextmanager
def running(argv: list[str], log: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[Running]:
    """The command, gone at the latest when the block ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, cwd=folder, env={**os.environ, **environment})
    try:
        yield Running(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
