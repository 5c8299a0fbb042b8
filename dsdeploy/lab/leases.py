"""Addresses that podman still books for containers which are gone."""

from __future__ import annotations

import fcntl
from pathlib import Path

from dsdeploy.lab.podman import Podman

# Where podman with netavark books addresses (containers/common, libnetwork/netavark: ipam.db in its run folder).
BOOK = Path("/run/containers/networks/ipam.db")


def forget_stale(podman: Podman, book: Path = BOOK) -> bool:
    """Start a new book where no container runs, so that nothing in it can be true. Returns whether it did.

    A container that dies together with its podman leaves its address booked, and `network rm` (podman 4.3)
    leaves the booking: no lab could be made on those addresses until this computer restarts.
    """
    if podman.name != "podman" or not book.exists():
        return False
    with book.open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # podman's own lock: somebody is booking just now
        except BlockingIOError:
            return False
        if podman.words("ps", "-q"):
            return False
        book.unlink(missing_ok=True)
    return True
