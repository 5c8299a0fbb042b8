"""Ctrl-C once: the step that runs is finished, then the run stops where it can be resumed. Twice: now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dsdeploy import output
from dsdeploy.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_asked = threading.Event()


@contextmanager
def between_steps() -> Iterator[None]:
    """While this lasts, signals that would end the process wait for the next call of `check`."""
    _asked.clear()
    before = {number: signal.signal(number, _ask) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check() -> None:
    """Raise Interrupted if somebody asked to stop."""
    if _asked.is_set():
        raise Interrupted(
            "stopped between two steps, as asked; what serves goes on serving",
            "",
            "dsdeploy resume SITE, to go on; dsdeploy abort SITE, to go back",
        )


def _ask(number: int, frame: FrameType | None) -> None:
    if _asked.is_set():
        raise KeyboardInterrupt
    _asked.set()
    output.note("stopping after this step; once more stops at once (either way the run can be resumed)")
