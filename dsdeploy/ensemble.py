"""The deploy lock and the epoch, kept in the site's ZooKeeper: the only kazoo user.

    /dsdeploy/<site>/lock    ephemeral: owner, host, pid, verb, run, since
    /dsdeploy/<site>/epoch   a number that only rises; each run that changes hosts takes the next one

A local lock is always taken too, so that the first `up`, when no ensemble
exists yet, is alone at least on this computer. Writing the epoch is a versioned
write: it is also the proof that the ensemble commits.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import BadVersionError, KazooException, NodeExistsError
from kazoo.handlers.threading import KazooTimeoutError

from dsdeploy import paths, ssh
from dsdeploy.errors import GateError, LockHeld
from dsdeploy.site import Site

SESSION_SECONDS = 30.0
CONNECT_SECONDS = 15.0


@dataclass
class Lock:
    """What a run holds. `epoch` is None while the site has no ensemble."""

    epoch: int | None = None
    lost: bool = False

    def check(self) -> None:
        """Raise GateError if the lock's session is gone: another run may be changing the site."""
        if self.lost:
            raise GateError(
                "the session that holds the deploy lock was lost",
                "ZooKeeper",
                "dsdeploy status SITE, then run the same command again",
            )


@contextmanager
def lock(site: Site, verb: str, run_id: str, member: str | None) -> Iterator[Lock]:
    """Hold the site's lock. `member` is a serving member's host name, None when there is no ensemble.

    Raises LockHeld naming the holder; GateError when the ensemble takes no write.
    """
    owner = {
        "owner": getpass.getuser(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "verb": verb,
        "run": run_id,
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    with ExitStack() as stack:
        stack.enter_context(_local(site, owner))
        held = Lock()
        if member:
            client = stack.enter_context(_session(site, member, held))
            try:
                _take(client, site, owner)
                held.epoch = _next_epoch(client, site)
            except KazooException as error:
                raise GateError(
                    f"ZooKeeper did not take a write: {type(error).__name__} {error}".strip(),
                    f"ensemble of {site.site}",
                    "dsdeploy status SITE",
                ) from error
        yield held


@contextmanager
def _local(site: Site, owner: dict[str, object]) -> Iterator[None]:
    path = paths.work_dir(site.file, site.site) / "lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _held(site, file.read()) from None
        file.truncate(0)
        file.write(json.dumps(owner))
        file.flush()
        yield
        file.truncate(0)


@contextmanager
def _session(site: Site, member: str, held: Lock) -> Iterator[KazooClient]:
    """A ZooKeeper session through an SSH tunnel to one serving member."""
    with ssh.tunnel(site, member, site.zookeeper.client_port) as port:
        client = KazooClient(hosts=f"127.0.0.1:{port}", timeout=SESSION_SECONDS)

        def listen(state: str) -> None:
            if state == KazooState.LOST:
                held.lost = True

        try:
            client.start(timeout=CONNECT_SECONDS)
            client.add_listener(listen)
            yield client
        except KazooTimeoutError as error:
            raise GateError("ZooKeeper opened no session", f"host {member}", "dsdeploy status SITE") from error
        finally:
            client.remove_listener(listen)
            client.stop()
            client.close()


def _take(client: KazooClient, site: Site, owner: dict[str, object]) -> None:
    path = f"/dsdeploy/{site.site}/lock"
    try:
        client.create(path, json.dumps(owner).encode(), ephemeral=True, makepath=True)
    except NodeExistsError:
        data, _ = client.get(path)
        raise _held(site, data.decode()) from None


def _next_epoch(client: KazooClient, site: Site) -> int:
    path = f"/dsdeploy/{site.site}/epoch"
    client.ensure_path(path)
    for _ in range(5):
        data, stat = client.get(path)
        epoch = int(data or b"0") + 1
        try:
            client.set(path, str(epoch).encode(), version=stat.version)
        except BadVersionError:
            continue
        return epoch
    raise GateError("the epoch in ZooKeeper changes faster than it can be read", path, "dsdeploy status SITE")


def _held(site: Site, text: str) -> LockHeld:
    try:
        owner = json.loads(text)
        who = f"{owner['owner']}@{owner['host']} (pid {owner['pid']}) since {owner['since']}, {owner['verb']}"
        run = f"run {owner['run']}"
    except (ValueError, KeyError, TypeError):
        who, run = "another run that is just starting", ""
    return LockHeld(
        f"the deploy lock is held by {who}",
        f"site {site.site} {run}".strip(),
        "wait until it is done, then run the same command again",
    )
