"""Tells keepalived, in a file, whether this host's HAProxy is alive: 0 it is, 1 it is dead or hangs.

It asks through the runtime socket, which HAProxy answers from the same loop as its requests, and which is not
counted against its connections: a router that is merely full keeps the virtual address and its callers' streams.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

SOCKET = "/run/haproxy/dsdeploy.sock"
FILE = Path("/run/dsdeploy-router/haproxy")
INTERVAL_S = 0.05
# After a failure the second opinion is wanted at once.
FAST_INTERVAL_S = 0.02
TIMEOUT_S = 0.15
# A silence that lasted this much longer than the timeout was this process's own: the machine is starved.
OVERSLEPT_S = 0.1
FALL = 2
RISE = 3


@dataclass
class Verdict:
    """What the last answers say; None until there were enough of them."""

    alive: Optional[bool] = None
    streak: int = 0
    last: bool = True

    def observe(self, answered: bool) -> bool:
        """Counts one answer or its absence; whether the verdict has changed by it."""
        self.streak = self.streak + 1 if answered == self.last else 1
        self.last = answered
        if self.alive is answered or self.streak < (RISE if answered else FALL):
            return False
        self.alive = answered
        return True


def ask(path: str) -> Optional[bool]:
    """Whether HAProxy answers in time; None if nothing can be said because this process did not get to run."""
    began = time.monotonic()
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(TIMEOUT_S)
            link.connect(path)
            link.sendall(b"show version\n")
            return bool(link.recv(256))
    except OSError:
        return None if time.monotonic() - began > TIMEOUT_S + OVERSLEPT_S else False


def notify(words: str) -> None:
    """To systemd, where it started us."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.connect("\0" + address[1:] if address.startswith("@") else address)
            link.send(words.encode())


def step(verdict: Verdict, path: str, file: Path) -> float:
    """One question; the file is written when the verdict changes. Seconds until the next one."""
    answered = ask(path)
    if answered is not None and verdict.observe(answered):
        file.write_text(f"{0 if answered else 1}\n")
        print("HAProxy answers" if answered else "HAProxy is dead or hangs: the virtual address may go", flush=True)
        notify("READY=1")
    notify("WATCHDOG=1")
    return FAST_INTERVAL_S if answered is False and verdict.alive else INTERVAL_S


def main() -> None:
    verdict = Verdict()
    while True:
        time.sleep(step(verdict, SOCKET, FILE))


if __name__ == "__main__":
    main()
