"""Tells keepalived, in a file, whether this host's HAProxy is alive: 0 it is, 1 it is dead or hangs.

It asks through the runtime socket, which HAProxy answers from the same loop as its requests, and which is not
counted against its connections: a router that is merely full keeps the virtual address and its callers' streams.
So does one that waits for a processor: its peer would have to end every stream, and may be no better off.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

SOCKET = "/run/haproxy/dsdeploy.sock"
FILE = Path("/run/dsdeploy-router/haproxy")
INTERVAL_S = 0.05
# After a failure the second opinion is wanted at once.
FAST_INTERVAL_S = 0.02
TIMEOUT_S = 0.15  # unless the first argument says otherwise, in milliseconds
# A silence that lasted this much longer than the timeout was this process's own: the machine is starved.
OVERSLEPT_S = 0.1
# So long a HAProxy may wait for a processor. One that runs all that time and answers nothing is stuck in a loop.
STARVED_S = 1.5
SPINS = 0.5
FALL = 2
RISE = 3


@dataclass(frozen=True)
class Worker:
    """Who answered last: `pid`, `when` (monotonic s) and the processor time it had had until then (s)."""

    pid: int
    when: float
    used: float


@dataclass
class Verdict:
    """What the last answers say; None until there were enough of them."""

    alive: Optional[bool] = None
    streak: int = 0
    last: bool = True
    worker: Optional[Worker] = None

    def observe(self, answered: bool) -> bool:
        """Counts one answer or its absence; whether the verdict has changed by it."""
        self.streak = self.streak + 1 if answered == self.last else 1
        self.last = answered
        if self.alive is answered or self.streak < (RISE if answered else FALL):
            return False
        self.alive = answered
        return True


def ask(path: str, timeout_s: float = TIMEOUT_S) -> Union[Worker, bool, None]:
    """Who answers; False if nobody does in time; None if this process itself did not get to run."""
    began = time.monotonic()
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(timeout_s)
            link.connect(path)
            link.sendall(b"show info\n")
            answer = b""
            while not (found := re.search(rb"^Pid: (\d+)\n", answer, re.MULTILINE)):
                part = link.recv(4096)
                if not part:
                    return False
                answer += part
    except OSError:
        return None if time.monotonic() - began > timeout_s + OVERSLEPT_S else False
    pid = int(found[1])
    return Worker(pid, time.monotonic(), threads(pid)[1])


def threads(pid: int) -> tuple[bool, float]:
    """Whether a thread of it can run or does, and the processor time all have had (s). proc_pid_stat(5)."""
    runnable, ticks = False, 0
    for stat in Path("/proc", str(pid), "task").glob("*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended
        runnable = runnable or fields[0] == "R"
        ticks += int(fields[11]) + int(fields[12])
    return runnable, ticks / os.sysconf("SC_CLK_TCK")


def starved(worker: Worker, now: float) -> bool:
    """Whether its silence is the machine's: it could run and is not let. A stopped or locked-up one could not."""
    silence = now - worker.when
    runnable, used = threads(worker.pid)
    return runnable and silence < STARVED_S and used - worker.used < SPINS * silence


def notify(words: str) -> None:
    """To systemd, where it started us."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.connect("\0" + address[1:] if address.startswith("@") else address)
            link.send(words.encode())


def step(verdict: Verdict, path: str, file: Path, timeout_s: float = TIMEOUT_S) -> float:
    """One question; the file is written when the verdict changes. Seconds until the next one."""
    answer = ask(path, timeout_s)
    if isinstance(answer, Worker):
        verdict.worker = answer
    elif answer is False and verdict.worker and starved(verdict.worker, time.monotonic()):
        answer = None
    answered = bool(answer)
    if answer is not None and verdict.observe(answered):
        file.write_text(f"{0 if answered else 1}\n")
        print("HAProxy answers" if answered else "HAProxy is dead or hangs: the virtual address may go", flush=True)
        notify("READY=1")
    notify("WATCHDOG=1")
    return FAST_INTERVAL_S if answer is False and verdict.alive else INTERVAL_S


def main() -> None:
    timeout_s = int(sys.argv[1]) / 1000 if len(sys.argv) > 1 else TIMEOUT_S
    verdict = Verdict()
    while True:
        time.sleep(step(verdict, SOCKET, FILE, timeout_s))


if __name__ == "__main__":
    main()
