"""The deploy lock, the epoch and the record of what serves, kept in the site's ZooKeeper.

    /dsdeploy/<site>/lock      ephemeral: an Owner as JSON
    /dsdeploy/<site>/epoch     a number that only rises; each run that changes hosts takes the next one
    /dsdeploy/<site>/release   what the last finished run left: {"release", "run", "at"}

A lock cannot keep a paused process from going on after its time: `Lock.check` asks the ensemble each
time, and the hosts refuse an epoch that is lower than one they have seen. Before the ensemble exists
the lock is a file, and the epoch counts on from the highest that a host has seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from time import monotonic
from typing import Any

from dsdeploy import output
from dsdeploy import owner as owners
from dsdeploy.ensemble import local
from dsdeploy.ensemble import session as sessions
from dsdeploy.ensemble.local import LockFile
from dsdeploy.ensemble.session import Session
from dsdeploy.errors import DsdeployError, Fenced, GateError, LockHeld
from dsdeploy.owner import Owner
from dsdeploy.site import Site

GIVE_BACK_SECONDS = 3.0


class Lock:
    """What a run holds: the lock `id`, its `run`, and the `epoch` that all its changes to hosts carry."""

    def __init__(self, site: Site, owner: Owner, file: LockFile, session: Session | None, epoch: int) -> None:
        self.id, self.run, self.epoch = owner.id, owner.run, epoch
        self._site, self._owner, self._file, self._session = site, owner, file, session

    def check(self) -> None:
        """Ask whether the lock still is ours, now: an answer from before is worth nothing after a pause.

        Raises Fenced when it is not; GateError when the ensemble gives no answer for a session's length.
        """
        self._node(sessions.SESSION_SECONDS)

    def step(self, name: str) -> None:
        """Write the step into the lock: a sign of life, and the proof that the ensemble commits.

        Raises Fenced when the lock is not ours any more; GateError when nothing is committed for 10 s.
        """
        self._owner = self._owner.at(name)
        deadline = monotonic() + sessions.WRITE_SECONDS
        while True:
            version = self._node(deadline - monotonic())
            path, text = _lock_path(self._site), self._owner.text()
            if self._session is None or self._session.write(path, text, version, deadline - monotonic()):
                break  # else a write whose answer was lost has raised the version
        self._file.note(self._owner)

    def record(self, release: str, run: str) -> None:
        """Keep which release serves, in one transaction with the proof that the lock is ours.

        Without an ensemble there is nowhere to keep it: the hosts' own manifests say it.
        """
        if self._session is None:
            return self.check()
        path = f"/dsdeploy/{self._site.site}/release"
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        text = json.dumps({"release": release, "run": run, "at": at})
        deadline = monotonic() + sessions.WRITE_SECONDS
        while monotonic() < deadline:
            guard = self._node(deadline - monotonic())
            found = self._session.read(path)
            version = found[1].version if found else -1
            if self._session.write_if(_lock_path(self._site), guard, path, text, version):
                return None
        raise GateError("the ensemble takes no write", path, "dsdeploy status SITE")

    def _node(self, seconds: float) -> int:
        """The version of our node (0 without an ensemble). Raises Fenced when it is not ours."""
        if self._session is None:
            if not self._file.intact():
                raise self._fenced(local.holder(self._site))
            return 0
        found = self._session.read(_lock_path(self._site), seconds)
        there = owners.read(found[0]) if found else None
        if found is None or there is None or there.id != self.id:
            raise self._fenced(there)
        return int(found[1].version)

    def _fenced(self, other: Owner | None) -> Fenced:
        now = f"it is held by {other.sentence()}" if other else "its session ended or it was released"
        return Fenced(
            f"this run has lost the deploy lock: {now}; nothing more was done",
            f"site {self._site.site} run {self.run} epoch {self.epoch}",
            "dsdeploy lock show SITE; dsdeploy status SITE",
        )


@contextmanager
def lock(site: Site, verb: str, run_id: str, members: Sequence[str], seen_epoch: int) -> Iterator[Lock]:
    """Hold the site's lock, in ZooKeeper through its serving `members`; without any, on this computer only.

    `seen_epoch` is the highest epoch that a host has seen. Raises LockHeld naming the holder, DsdeployError
    when the lock cannot be written, HostUnreachable or GateError when the ensemble cannot be reached.
    """
    owner = owners.me(verb, run_id)
    file = LockFile(site, owner, in_ensemble=bool(members))
    try:
        if file.other and not (members and file.other_in_ensemble):
            raise _held(site, file.other)
        if not members:
            yield Lock(site, owner, file, None, seen_epoch + 1)
            return
        with sessions.session(site, members) as session:
            try:
                _take(session, site, owner)
                if file.other:  # its holder's lock in ZooKeeper has ended: it is fenced, the file is free
                    file.replace()
                yield Lock(site, owner, file, session, _next_epoch(session, site, seen_epoch))
            finally:
                _give_back(session, site, owner)
    finally:
        file.close()


def holder(site: Site, members: Sequence[str]) -> Owner | None:
    """Who holds the lock in ZooKeeper; without members, on this computer."""
    if not members:
        return local.holder(site)
    with sessions.session(site, members) as session:
        found = session.read(_lock_path(site))
        return owners.read(found[0]) if found else None


def release(site: Site, members: Sequence[str], lock_id: str) -> Owner:
    """Take the lock with this id away from its holder, which stops at its next check. Returns the holder."""
    if not members:
        there = _named(site, local.holder(site), lock_id)
        local.remove(site)
        return there
    with sessions.session(site, members) as session:
        while True:
            found = session.read(_lock_path(site))
            there = _named(site, owners.read(found[0]) if found else None, lock_id)
            if found and session.delete(_lock_path(site), found[1].version):
                return there


def _take(session: Session, site: Site, owner: Owner) -> None:
    path = _lock_path(site)
    while not session.create(path, owner.text(), ephemeral=True):
        found = session.read(path)
        if found is None:
            continue
        there = owners.read(found[0])
        if there.id == owner.id and found[1].ephemeralOwner == session.id:
            return  # made by an attempt whose answer was lost
        if there.id != owner.id and not there.dead():
            raise _held(site, there)
        if session.delete(path, found[1].version) and there.id != owner.id:
            output.note(f"took over the lock of {there.sentence()}: that process is gone (run {there.run})")


def _next_epoch(session: Session, site: Site, seen: int) -> int:
    """Raise the number above itself and above all that hosts have seen; a lost node is made anew from those."""
    path = f"/dsdeploy/{site.site}/epoch"
    for _ in range(10):
        found: tuple[str, Any] | None = session.read(path)
        known = int(found[0]) if found and found[0].isdecimal() else 0
        epoch = max(known, seen) + 1
        if found is None and session.create(path, str(epoch)):
            return epoch
        if found and session.write(path, str(epoch), found[1].version):
            return epoch
    raise GateError("the epoch in ZooKeeper changes faster than it can be read", path, "dsdeploy status SITE")


def _give_back(session: Session, site: Site, owner: Owner) -> None:
    """Delete our node. Where that fails, the node ends with the session."""
    deadline = monotonic() + GIVE_BACK_SECONDS
    try:
        found = session.read(_lock_path(site), GIVE_BACK_SECONDS)
        if found and owners.read(found[0]).id == owner.id:
            session.delete(_lock_path(site), found[1].version, deadline - monotonic())
    except DsdeployError:
        output.note(f"the lock could not be given back; it ends by itself in {sessions.SESSION_SECONDS:.0f} s")


def _named(site: Site, there: Owner | None, lock_id: str) -> Owner:
    where = f"lock of {site.site}"
    if there is None:
        raise DsdeployError("nobody holds the lock", where, "nothing is left to do")
    if there.id != lock_id:
        raise DsdeployError(
            f"the lock has another id: {there.id}, held by {there.sentence()}", where, "dsdeploy lock show SITE"
        )
    return there


def _held(site: Site, there: Owner) -> LockHeld:
    return LockHeld(
        f"the deploy lock is held by {there.sentence()}",
        f"site {site.site} run {there.run} lock {there.id}",
        "wait until it is done, then run the same command again; or look: dsdeploy lock show SITE",
    )


def _lock_path(site: Site) -> str:
    return f"/dsdeploy/{site.site}/lock"
