"""The two words systemd wants to hear (sd_notify), over a plain datagram socket."""

from __future__ import annotations

import os
import socket


def notify(*words: str) -> bool:
    """Send e.g. ``READY=1`` to the service manager. False when nobody listens (run by hand)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.connect(address)
        link.sendall("\n".join(words).encode())
    return True
