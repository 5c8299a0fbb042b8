"""What systemd, the kernel's addresses and OpenSSL say. Python >= 3.8, standard library only."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple

Sample = Tuple[str, Dict[str, str], float]
COLOURS = ("blue", "green")


def engines(root: Path) -> Iterator[Sample]:
    """Whether each colour's process is up (loading counts as not), its release, and how often it was restarted."""
    for colour in COLOURS:
        unit = show("dsdeploy-engine@%s.service" % colour)
        if not unit:
            continue
        link = root / colour
        release = os.path.basename(os.readlink(str(link))) if link.is_symlink() else ""
        active = float(unit.get("ActiveState") == "active")
        yield "dsdeploy_engine_active", {"colour": colour, "release": release}, active
        yield "dsdeploy_engine_restarts_total", {"colour": colour}, float(unit.get("NRestarts") or 0)


def show(unit: str) -> Dict[str, str]:
    """Properties of a unit; {} when systemd does not answer."""
    try:
        done = subprocess.run(
            ["systemctl", "show", "-p", "ActiveState", "-p", "NRestarts", unit],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.partition("=") for line in done.stdout.decode().splitlines())
    return {name: value for name, _, value in pairs}


def held(address: str) -> bool:
    """Whether this host has the address now: nobody else's can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def expiry(path: Path) -> Optional[float]:
    """When a certificate ends, as seconds since 1970; None for a file that is none."""
    try:
        done = subprocess.run(
            ["openssl", "x509", "-noout", "-enddate", "-in", str(path)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, check=True,
        )  # fmt: skip
        return float(ssl.cert_time_to_seconds(done.stdout.decode().strip().partition("=")[2]))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def seconds(moment: str) -> float:
    """Seconds since 1970 of `2026-11-22T09:00:00Z` or with an offset. Raises ValueError."""
    parsed = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()
