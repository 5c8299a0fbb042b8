"""The last step of a change: success is what was seen, not that nothing raised."""

from __future__ import annotations

from collections.abc import Collection
from time import monotonic, sleep

from dsdeploy import hosts, observe
from dsdeploy.errors import PostconditionFailed, Problem
from dsdeploy.site import Site

PATIENCE_SECONDS = 30.0  # health checks of a router that was just started, followers that catch up
POLL_SECONDS = 1.0


def healthy(site: Site, release: str | None, limit: Collection[str] = (), members: bool = True) -> None:
    """Read all hosts until every postcondition holds.

    Without `members` one that is down does not matter while the others are a quorum: a run that only moved
    engines has not touched it, and was allowed to go on without it.

    Raises PostconditionFailed, with everything that is still wrong, after PATIENCE_SECONDS.
    """
    deadline = monotonic() + PATIENCE_SECONDS
    while True:
        found = observe.status(site, hosts.read(site, *observe.KINDS), tuple(limit) or None)
        spared = {} if members or not found.quorum.ok else found.quorum.problems
        named = [(name, what) for name, what in found.named(watched=False) if spared.get(name) != what]
        wrong = [Problem(f"{name}: {what}" if name else what, f"site {site.site}") for name, what in named]
        if not wrong and release in (None, found.release):
            return
        if monotonic() > deadline:
            if found.release != release:
                wrong.append(Problem(f"release {found.release} answers, {release} was to", f"site {site.site}"))
            hint = "dsdeploy status SITE"
            raise PostconditionFailed([Problem(p.what, p.where, hint) for p in wrong])
        sleep(POLL_SECONDS)
