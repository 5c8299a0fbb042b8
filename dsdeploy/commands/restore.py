"""`dsdeploy restore`: bring files of a host back from its snapshots, and ZooKeeper members without losing quorum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dsdeploy import output
from dsdeploy.errors import GateError, PlaybookFailed, Problem
from dsdeploy.site import Site, load

if TYPE_CHECKING:
    from dsdeploy.runs import Run

Words = Callable[..., list[str]]  # further options of the program -> all of its words
REFUSED = 1
MEMBER = "zookeeper"  # the set that holds a member's data


def restore(
    path: Path, snapshot: str, host: str, what: Sequence[str], to: str, source: str, replace: bool, yes: bool
) -> int:
    """Restore on one host, or on all. Raises GateError (5) when the ensemble would lose its quorum, and
    PlaybookFailed with each host's reason; what is live is not touched before all of a snapshot was compared."""
    site = load(path)
    from dsdeploy import ensemble, hosts, rolling, runs
    from dsdeploy.backup import play
    from dsdeploy.facts import Epoch, Srvr
    from dsdeploy.releases import recover

    play.wanted(site)
    names = hosts.chosen(site, [host] if host else None)
    words = partial(_words, snapshot, what, to, source, replace)
    question = f"Restore {', '.join(what) or 'everything'} on {', '.join(names)}, in place?"
    if not (to or yes or output.confirm(question)):  # a new folder takes nothing away
        output.note("nothing was changed; --yes goes on without asking")
        return REFUSED
    if to:
        play.program(site, words(), names, runs.new(site, "restore"))
        return 0
    readings = hosts.read(site, Srvr, Epoch)
    now = rolling.verdict(site, readings)
    record = runs.new(site, "restore")
    serving = now.serving if now.ok else ()
    with ensemble.lock(site, "restore", record.id, serving, recover.epoch(readings)):
        members = [name for name in names if name in site.with_role("zookeeper")] if not what or MEMBER in what else []
        _all(site, record, words, names, members, bool(host))
    return 0


def _all(site: Site, record: Run, words: Words, names: Sequence[str], members: Sequence[str], limited: bool) -> None:
    """Hosts without a member at once; members one after the other, or together where none serves. Raises GateError
    when one that was restored does not serve again."""
    from dsdeploy import quorum, rolling
    from dsdeploy.backup import members as ways
    from dsdeploy.backup import play

    way = ways.way(rolling.now(site), members, limited)
    if way.name == "no":
        raise GateError(f"no member may be restored: {way.why}", f"ensemble of {site.site}", quorum.MEND)
    if others := [name for name in names if name not in members]:
        play.program(site, words(), others, record)
    if members:
        output.note(way.why)
    if way.name == "all":
        there = _majority(site, record, words("--no-start"), members)
        play.program(site, ("start", MEMBER), there, record)
        _settled(site, there)
        return
    for name in members:
        allowed, why = quorum.may_take_down(rolling.patient(site), [name])
        if not allowed and name in rolling.now(site).serving:
            raise GateError(f"{name} was not touched: {why}", f"ensemble of {site.site}", quorum.MEND)
        play.program(site, words("--start"), [name], record)
        _settled(site, [name])


def _majority(site: Site, record: Run, words: list[str], members: Sequence[str]) -> list[str]:
    """Give members their data, with none of them running; those that have it. Raises PlaybookFailed when they are
    no majority: nothing may be started then."""
    from dsdeploy import quorum
    from dsdeploy.backup import play

    try:
        play.program(site, words, members, record)
    except PlaybookFailed as error:
        lost = [name for name in members if any(one.where.startswith(f"host {name},") for one in error.problems)]
        there = [name for name in members if name not in lost]
        if not lost or len(there) < quorum.majority(len(site.members)):
            raise
        output.errors(error.problems)
        output.note(f"{', '.join(there)} are a majority and start; {', '.join(lost)}: dsdeploy up SITE afterwards")
        return there
    return list(members)


def _settled(site: Site, wanted: Sequence[str]) -> None:
    """Wait until these members serve. Raises GateError when the ensemble does not come, or without one of them."""
    from time import monotonic

    from dsdeploy import quorum, rolling

    deadline = monotonic() + rolling.SETTLE_SECONDS
    with output.step("wait for the ensemble"):
        now = rolling.patient(site)
        while not (now.ok and set(wanted) <= set(now.serving)) and monotonic() < deadline:
            now = rolling.patient(site)
    if not now.ok:
        raise GateError(f"the ensemble does not serve: {now.why}", f"ensemble of {site.site}", quorum.MEND)
    if missing := [name for name in wanted if name not in now.serving]:
        raise GateError(
            [
                Problem(f"{name} has its data, and does not serve: {now.problems.get(name, 'not known')}",
                        f"ZooKeeper member on {name}", f"journalctl -u zookeeper on {name}; {now.why}")
                for name in missing
            ]
        )  # fmt: skip
    output.say(f"{site.site}: {now.why}")


def _words(snapshot: str, what: Sequence[str], to: str, source: str, replace: bool, *more: str) -> list[str]:
    """What the program on the host is asked; each value is one word, and behind `--` comes nothing but the snapshot."""
    words = ["restore"]
    for name in what:
        words += ["--what", name]
    words += ["--to", to] if to else []
    words += ["--from", source]
    words += ["--replace"] if replace else []
    words += more
    return [*words, "--", snapshot] if snapshot else words
