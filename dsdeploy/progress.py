"""How far a pull is, read from the hosts while Ansible waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from dsdeploy import hosts
from dsdeploy.facts import Weights
from dsdeploy.hosts import Reading
from dsdeploy.output import Say, size
from dsdeploy.site import Site

EVERY_SECONDS = 3.0  # one short command a host


@contextmanager
def weights(site: Site, names: Sequence[str], say: Say) -> Iterator[None]:
    """Tell `say` every few seconds how far each host is, until the block ends."""
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(site, names, say, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(site: Site, names: Sequence[str], say: Say, over: threading.Event) -> None:
    while not over.wait(EVERY_SECONDS):
        shown = line(site, hosts.read(site, Weights, names=names, timeout=EVERY_SECONDS * 2))
        if shown and not over.is_set():
            say(shown)


def line(site: Site, readings: Mapping[str, Reading]) -> str:
    """`gpu1 42% of 688.6 GiB at 1.1 GiB/s, 6 min left`; hosts that pull nothing are left out."""
    name = f"{site.model.name}/{site.model.version}"
    parts = []
    for host, reading in readings.items():
        stamp = (reading.get(Weights) or Weights()).get(name)
        progress = (stamp.progress if stamp else None) or {}
        done, total, rate = (_number(progress.get(key)) for key in ("bytes_done", "bytes_total", "rate"))
        if not total:
            continue
        left = f", {_duration((total - done) / rate)} left" if rate and done < total else ""
        parts.append(f"{host} {progress.get('phase', '')} {done / total:.0%} of {size(total)} at {size(rate)}/s{left}")
    return " · ".join(parts)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value >= 0 else 0.0


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
