"""Serve one release with a runtime that is a program of its own: ``serve.py HOME``, HOME being /srv/dsdeploy/<colour>.

Reads HOME/engine.json (settings of the release, its launch among them) and the colour's place from the
environment. Starts the engine, tells a long start from a dead one, says READY to systemd only after a completion
came back, and on SIGTERM waits until no request is left, or DRAIN_S seconds. On a host with a rank above 0 it is
the head that is asked. Exit 78: these settings or this build will never start; else: retry.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, NoReturn

import artefact
import ask
import caches
import filled
import words
from child import Child
from progress import Progress
from systemd import notify

_REFUSED = 78  # EX_CONFIG, see RestartPreventExitStatus in the unit
_PAUSE, _SAMPLE = 0.5, 5.0  # seconds between looks, and between measurements
_END = 20.0  # seconds the engine gets to go once it is drained


class Server:
    """One release in one place."""

    def __init__(self, home: Path) -> None:
        self.release = home.resolve()
        self.settings: Dict[str, Any] = json.loads((self.release / "engine.json").read_text())
        self.place = dict(os.environ)
        self.rank = int(self.place.get("RANK", "0"))
        self.address, self.port = self.place["ADDRESS"], int(self.place["PORT"])
        self.front = self.place["HEAD"] if self.rank else self.address
        self.stopping = threading.Event()
        launch = self.settings["launch"]
        self.progress = Progress(words.PHASES, words.FATAL, float(launch["patience"]), time.monotonic())

    def run(self) -> int:
        record = artefact.verify(self.release / "build")
        words.check(record, self.settings)
        cache = caches.bring(self.release / "build", record)
        name = f"dsdeploy-engine-{os.environ.get('COLOUR', self.port)}"
        known = filled.words(self.place, self.release, cache, name)
        argv, environment = filled.command(self.settings["launch"], known)
        for folder in (value for value in environment.values() if value.startswith(str(cache))):
            Path(folder).mkdir(parents=True, exist_ok=True)
        free_port(self.address, self.port)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        for note in self.settings["launch"]["notes"]:
            say(note)
        say(f"release {self.release.name}, rank {self.rank}: {' '.join(argv[:3])} …")
        child = Child(argv, environment, lambda text: self.progress.line(text, time.monotonic()))
        try:
            code = self.start(child, cache, known)
            if code is None:
                code = self.serve(child)
        finally:
            child.stop(_END)
        return code

    def start(self, child: Child, cache: Path, known: Dict[str, str]) -> "int | None":
        """None when it answers; else the exit code, said why."""
        sampled = 0.0
        while not self.stopping.is_set():
            now = time.monotonic()
            if child.ended() is not None:
                why = self.progress.why or f"the engine ended with {child.ended()} while {self.progress}"
                return refuse(why) if self.progress.hopeless else fail(why)
            if now - sampled >= _SAMPLE:
                sampled = now
                self.progress.grown(child.growth(cache), now)
                # systemd waits on as long as this is said; the probe has the site's own limit
                notify(f"STATUS={self.progress}", f"EXTEND_TIMEOUT_USEC={int(60e6)}")
            stalled = self.progress.stalled(now)
            if stalled:
                return fail(stalled)
            if self.answers(known):
                say(f"ready: release {self.release.name} on {self.address}:{self.port}")
                notify("READY=1", f"STATUS=release {self.release.name}, rank {self.rank}")
                return None
            self.stopping.wait(_PAUSE)
        return 0

    def answers(self, known: Dict[str, str]) -> bool:
        """A completion, once the engine says that it is there."""
        try:
            if not self.rank:
                words.open_front(self.settings, known)
            ask.get(self.front, self.port, "/health", timeout=5)
            ask.complete(
                self.front, self.port, self.settings["model"], timeout=float(self.settings["launch"]["patience"])
            )
        except ask.Silent:
            return False
        return True

    def serve(self, child: Child) -> int:
        """Until it is told to stop, or the engine ends; a rank that has lost its head starts anew with it."""
        while not self.stopping.wait(_PAUSE):
            if child.ended() is not None:
                return fail(f"the engine ended with {child.ended()}")
            if self.rank and ask.refused(self.front, self.port):
                return fail(f"the head {self.front}:{self.port} is gone: starting anew with it")
        if not self.rank:
            self.drain(child)
        return 0

    def drain(self, child: Child) -> None:
        limit = float(self.place.get("DRAIN_S", "300"))
        started, idle = time.monotonic(), 0
        notify("STOPPING=1", f"STATUS=draining, at most {limit:.0f} s")
        while child.ended() is None:
            try:
                left = ask.busy(words.metrics(self.address, self.port), words.BUSY)
            except ask.Silent:
                left = 1
            idle = idle + 1 if left == 0 else 0
            waited = time.monotonic() - started
            if idle == 2:
                say(f"drained in {waited:.1f} s")
                return
            if waited >= limit:
                say(f"stopping with {left} requests cut after {limit:.0f} s")
                return
            time.sleep(0.1)


def free_port(address: str, port: int) -> None:
    """A clear message instead of the engine's, when somebody else has the port. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {address}:{port}: {error.strerror}") from error


def say(line: str) -> None:
    print(line, flush=True)


def fail(why: str) -> int:
    say(f"failed: {why}")
    notify(f"STATUS=failed: {why}")
    return 1


def refuse(why: str) -> int:
    say(f"refused: {why}")
    notify(f"STATUS=refused: {why}", "ERRNO=22")
    return _REFUSED


def main(home: Path) -> NoReturn:
    try:
        code = Server(home).run()
    except (artefact.Damaged, filled.Unfilled, words.Foreign) as error:
        code = refuse(str(error))
    except OSError as error:
        code = fail(f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error))
    sys.exit(code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
