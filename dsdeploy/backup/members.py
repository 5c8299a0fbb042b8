"""In which way ZooKeeper members may be given back their data, without the ensemble losing what it has. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dsdeploy import quorum
from dsdeploy.quorum import Quorum


@dataclass(frozen=True)
class Way:
    """`one`: after another, each while the others serve. `all`: together, as none serves. `no`: with the reason."""

    name: str
    why: str


def way(now: Quorum, members: Sequence[str], limited: bool) -> Way:
    """How to restore these members. `limited`: the operator named hosts, instead of the whole ensemble.

    While the others have a quorum, a member gets its data and then what it lacks from the leader. Without one, the
    restored data is all there is: then a majority must have it before any is started, or members with nothing
    would elect each other and the restored ones would follow them.
    """
    if not members:
        return Way("one", "no member among these hosts")
    if now.ok:
        for name in members:
            allowed, why = quorum.may_take_down(now, [name])
            if not allowed and name in now.serving:
                return Way("no", why)
        return Way("one", f"{len(now.serving)} of {len(now.voters)} serve: each follows the others again")
    if now.serving:
        return Way("no", f"{', '.join(now.serving)} still run without a quorum: stop them, or start the others")
    if limited and len(members) < now.majority:
        return Way("no", f"no member serves, and {len(members)} of {len(now.voters)} is no majority: leave out --host")
    return Way("all", "no member serves: all are given their data, then started together")
