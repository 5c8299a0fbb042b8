"""Restart ensemble members one at a time, leader last, re-reading all of them before each.

The zookeeper role leaves a marker where a running member was started with an older
configuration. Which one may go next is decided here, from what every configured
voter answers at that moment: a leader elected meanwhile is noticed, and the roll
stops as soon as a member's absence would break the quorum.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from time import monotonic, sleep

from dsdeploy import hosts, output, quorum
from dsdeploy.errors import GateError
from dsdeploy.facts import Srvr
from dsdeploy.facts.restart import RestartNeeded
from dsdeploy.hosts import Reading
from dsdeploy.quorum import Quorum
from dsdeploy.site import Site

SETTLE_SECONDS = 60.0  # a member that restarts needs a few; an election at most about ten
ELECTION_SECONDS = 15.0  # a few seconds, as a rule; ten with slow disks
POLL_SECONDS = 1.0


def restart_where_needed(site: Site, members: Collection[str], restart: Callable[[str], None]) -> None:
    """Restart every marked member, safely. Raises GateError when the next one may not be taken down."""
    while True:
        readings = hosts.read(site, Srvr, RestartNeeded, names=site.with_role("zookeeper"))
        now = verdict(site, readings)
        host = choose([name for name in members if _marked(readings[name])], now)
        if host is None:
            return
        allowed, why = quorum.may_take_down(now, [host])
        if not allowed and host in now.serving:
            raise GateError(f"{host} needs a restart, but the ensemble would not survive it: {why}",
                            f"ZooKeeper member on {host}", "dsdeploy status SITE")  # fmt: skip
        restart(host)
        with output.step(f"wait until {host} serves again"):
            _settled(site, host)


def choose(marked: Collection[str], now: Quorum) -> str | None:
    """Who is next: members that are down anyway first, then followers, the leader last."""
    order = sorted(marked, key=lambda name: (name in now.serving, name == now.leader))
    return order[0] if order else None


def verdict(site: Site, readings: Mapping[str, Reading]) -> Quorum:
    """The ensemble as these readings show it; a member that was not read counts as down."""
    answers = {name: reading.get(Srvr) for name, reading in readings.items()}
    return quorum.verdict([member.host for member in site.members], answers)


def patient(site: Site) -> Quorum:
    """The ensemble once all its members serve, or as it is after ELECTION_SECONDS: a restart may be under way."""
    deadline = monotonic() + ELECTION_SECONDS
    while True:
        seen = now(site)
        if (seen.ok and len(seen.serving) == len(seen.voters)) or monotonic() > deadline:
            return seen
        sleep(POLL_SECONDS)


def now(site: Site) -> Quorum:
    """The ensemble, read this moment."""
    return verdict(site, hosts.read(site, Srvr, names=site.with_role("zookeeper")))


def _marked(reading: Reading) -> bool:
    needed = reading.get(RestartNeeded)
    return bool(needed and needed.marked)


def _settled(site: Site, host: str) -> None:
    """Wait until the restarted member serves again and there is one leader."""
    deadline = monotonic() + SETTLE_SECONDS
    while True:
        seen = now(site)
        if seen.ok and host in seen.serving:
            return
        if monotonic() > deadline:
            raise GateError(f"{host} did not rejoin the ensemble within {SETTLE_SECONDS:.0f} s: {seen.why}",
                            f"ZooKeeper member on {host}", f"journalctl -u zookeeper on {host}; "
                            "the other members were not touched")  # fmt: skip
        sleep(POLL_SECONDS)
