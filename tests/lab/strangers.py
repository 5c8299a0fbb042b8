"""A network namespace that nobody has named in a site file, and what can be reached from there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NAME, HERE, THERE = "dsdeploy-stranger", "10.91.77.1", "10.91.77.2"

SCAN = Path(__file__).with_name("scan.py")


@contextmanager
def stranger() -> Iterator[None]:
    """It reaches the lab through this computer, as somebody in the next building would."""
    lines = (
        f"netns add {NAME}",
        f"link add dsd-stranger type veth peer name eth0 netns {NAME}",
        f"address add {HERE}/30 dev dsd-stranger",
        "link set dsd-stranger up",
        f"-n {NAME} address add {THERE}/30 dev eth0",
        f"-n {NAME} link set eth0 up",
        f"-n {NAME} link set lo up",
        f"-n {NAME} route add default via {HERE}",
    )
    subprocess.run(["ip", "netns", "del", NAME], capture_output=True, check=False)
    try:
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "del", NAME], check=False)  # its end of the cable, and ours, go with it


def scanned(addresses: Sequence[str]) -> dict[str, list[int]]:
    """The TCP ports of each address that a stranger can open."""
    argv = ["ip", "netns", "exec", NAME, sys.executable, str(SCAN), *addresses]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=True)
    answer: dict[str, list[int]] = json.loads(done.stdout)
    return answer
