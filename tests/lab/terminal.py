"""An operator at a terminal: a printed line is typed as it stands, questions are answered, what comes is read."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer

from dsdeploy import paths
from dsdeploy.lab.podman import Podman

from .conftest import ROOT, Lab

QUESTION = b"[y/N] "
COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass(frozen=True)
class Said:
    """What a typed line printed, without colours, and the exit code it left."""

    code: int
    text: str

    @property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.text.splitlines() if line.strip()]


@dataclass
class Operator:
    """A shell in `folder`, where `dsdeploy` is this checkout's. `editor` is what $EDITOR is set to."""

    lab: Lab
    folder: Path
    editor: str = "false"
    typed: list[tuple[str, Said]] = field(default_factory=list)

    def __post_init__(self) -> None:
        tool = self.folder / "bin" / "dsdeploy"
        tool.parent.mkdir(parents=True, exist_ok=True)
        tool.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m dsdeploy "$@"\n')
        tool.chmod(0o755)

    def type(self, line: str, seconds: float = 300) -> Said:
        """Copy a line into the shell; y to every question. What hangs for so long is ended."""
        ours, theirs = pty.openpty()
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "EDITOR": self.editor, "TERM": "xterm", "COLUMNS": "200"}
        process = subprocess.Popen(
            ["bash", "-c", line], stdin=theirs, stdout=theirs, stderr=theirs, cwd=self.folder, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        late = Timer(seconds, process.kill)
        late.start()
        text = answered(ours)
        code = process.wait()
        late.cancel()
        os.close(ours)
        said = Said(code, COLOURS.sub("", text.decode("utf-8", "replace")).replace("\r", "\n"))
        self.typed.append((line, said))
        # of dsdeploy itself: a journal that a line shows may well have one of an engine's
        assert re.search("(?m)^Traceback", said.text) is None, f"$ {line}\n{said.text}"
        return said

    def at_console(self, host: str, command: str) -> str:
        """A line at a machine's own console: SSH is not needed for it."""
        program = Podman("podman", paths.cache_dir("lab") / "containers.conf", (), False)
        return program.text("exec", self.lab.machine(host), "sh", "-c", command)

    def meanwhile(self, seconds: float, do: Callable[[], object]) -> Timer:
        """Something that happens by itself, so many seconds from now."""
        timer = Timer(seconds, do)
        timer.start()
        return timer


def answered(terminal: int) -> bytes:
    """All that is printed there; questions are answered as they come. Linux says EIO when the other side is gone."""
    found = asked = b""
    with suppress(OSError):
        while piece := os.read(terminal, 65536):
            found, asked = found + piece, asked + piece
            if QUESTION in asked:
                os.write(terminal, b"y\n")
                asked = b""
    return found
