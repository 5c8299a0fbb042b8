"""`dsdeploy lock`: who holds the deploy lock, and taking it from a holder that cannot give it back."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path

from dsdeploy import ensemble, output
from dsdeploy.site import Site, load


def show(path: Path, as_json: bool) -> int:
    """Print the holder, or that there is none; exit code 0 for both."""
    site = load(path)
    members = serving(site)
    holder = ensemble.holder(site, members)
    if as_json:
        known = {**asdict(holder), "dead": holder.dead()} if holder else {}
        output.emit_json({"held": holder is not None, "ensemble": bool(members), **known})
        return 0
    if holder is None:
        output.say("nobody holds the lock" if members else "nobody holds the lock on this computer")
        return 0
    output.say(f"the lock is held by {holder.sentence()}")
    output.say(f"run {holder.run or '-'}, lock {holder.id}")
    if holder.dead():
        output.say("that process is gone: the next run on this computer takes the lock over")
    else:
        output.say(f"if that run is gone for good: dsdeploy lock release {shlex.quote(str(path))} {holder.id}")
    return 0


def release(path: Path, lock_id: str) -> int:
    """Take the lock with this id from its holder, which stops before its next step."""
    site = load(path)
    was = ensemble.release(site, serving(site), lock_id)
    output.say(f"released the lock of {was.sentence()}")
    if not was.dead():
        output.say("if that run still goes on, it stops before its next step")
    return 0


def serving(site: Site) -> tuple[str, ...]:
    """The members that serve now; none while the ensemble has no quorum or is not there yet."""
    from dsdeploy import hosts, rolling
    from dsdeploy.facts import Srvr

    now = rolling.verdict(site, hosts.read(site, Srvr, names=site.with_role("zookeeper")))
    if now.leader is None or not now.ok:
        output.note("no ensemble serves: this is about the lock on this computer only")
        return ()
    return now.serving
