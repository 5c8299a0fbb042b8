"""How busy each host is, as far as anybody has measured it. Pure: readings in, numbers by name out.

requests_per_second   a router's own, an engine's share of what routers sent it
tokens_per_second     what an engine makes
gpu_used, disk_used   shares, 0 to 1: the mean of a host's GPUs, the fuller of /srv and /var

What nobody has measured is absent: requests, tokens and GPUs are known where the site has a section `monitor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from dsdeploy.facts import Disks, Measured

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.state import Status

READ = (Disks, Measured)


def known(found: Status, readings: Mapping[str, Reading]) -> Status:
    """The same status with the figures of each of its hosts; where two hosts collect, the first that knows counts."""
    collected = [measured for reading in readings.values() if (measured := reading.get(Measured))]
    hosts = {}
    for name, host in found.hosts.items():
        figures = next((dict(measured[name]) for measured in collected if name in measured), {})
        reading = readings.get(name)
        disks = reading.get(Disks) if reading else None
        used = [1 - disk.free / disk.total for disk in (disks or {}).values() if disk.total]
        if used:
            figures["disk_used"] = max(used)
        hosts[name] = replace(host, figures={key: round(value, 3) for key, value in figures.items()})
    return replace(found, hosts=hosts)
