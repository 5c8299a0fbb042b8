"""The load generator in a process of its own, beside the bench."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..load import history
from ..load.history import Request
from .lab import ROOT, BenchError, until

END_S = 60.0


@dataclass
class Traffic:
    """Requests at a steady rate until the `with` block ends; then its history can be read."""

    out: Path
    process: subprocess.Popen[bytes]

    def ended(self) -> int:
        """How many requests have come to their end so far. Raises BenchError when the generator died."""
        if self.process.poll() is not None:
            raise BenchError(f"the load generator ended with {self.process.returncode}")
        return history.count(self.out) if self.out.exists() else 0

    def history(self) -> tuple[Request, ...]:
        return history.read(self.out)


@contextmanager
def flowing(out: Path, target: str, rate: float, model: str, timeout: float = 15.0) -> Iterator[Traffic]:
    """Load on ADDRESS:PORT; the block begins when the first second of it is over.

    It comes from elsewhere as it were: what runs here (plays, an engine's start) must not make it late.
    """
    words = ["--target", target, "--rate", str(rate), "--model", model, "--out", str(out), "--timeout", str(timeout)]
    out.unlink(missing_ok=True)
    process = subprocess.Popen(["nice", "-n", "-10", sys.executable, "-m", "tests.load", *words], cwd=ROOT)
    traffic = Traffic(out, process)
    try:
        until(lambda: traffic.ended() >= rate, 30, lambda: f"no load flows to {target}")
        yield traffic
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BenchError("the load generator did not end") from None
