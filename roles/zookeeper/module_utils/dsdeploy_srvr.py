"""One question to a ZooKeeper member, and what its answer says. Standard library only, Python >= 3.8."""

from __future__ import annotations

import re
import socket
from typing import Iterable, List, Optional

SERVING = ("leader", "follower", "observer", "standalone")


def ask(address: str, port: int, word: str = "srvr", timeout: float = 3.0) -> Optional[str]:
    """The answer to a four-letter word, None when nobody answers there within `timeout` seconds."""
    try:
        with socket.create_connection((address, port), timeout) as link:
            link.sendall(word.encode("ascii"))
            parts: List[bytes] = []
            while True:
                part = link.recv(4096)
                if not part:
                    return b"".join(parts).decode("utf-8", "replace")
                parts.append(part)
    except OSError:
        return None


def mode(answer: Optional[str]) -> str:
    """leader, follower, observer or standalone; ``down`` for no answer, ``waiting`` for one that is not serving."""
    if answer is None:
        return "down"
    found = re.search(r"^Mode: (\w+)", answer, re.MULTILINE)
    return found.group(1) if found and found.group(1) in SERVING else "waiting"


def up(modes: Iterable[str]) -> int:
    """How many of the members are at least running."""
    return sum(1 for found in modes if found != "down")
