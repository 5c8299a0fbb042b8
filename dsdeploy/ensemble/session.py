"""A ZooKeeper session that outlives its members' restarts: the only kazoo user.

kazoo is given a tunnel to each member and goes to another when one leaves. Each request here is
repeated over lost connections until its time is up, so a caller must stand being done twice:
what is written is versioned, or names its author.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    SessionExpiredError,
    SessionMovedError,
)
from kazoo.handlers.threading import KazooTimeoutError

from dsdeploy import ssh
from dsdeploy.errors import DsdeployError, GateError, HostUnreachable
from dsdeploy.site import Site

SESSION_SECONDS = 20.0  # how long the ensemble keeps the lock of a run that it does not hear
CONNECT_SECONDS = 20.0
WRITE_SECONDS = 20.0  # followers notice a hung leader after syncLimit x tickTime, 10 s
SLOW_SECONDS = 4.0  # no answer for so long: the member may hang, another is tried
PAUSE_SECONDS = 0.1
CLOSE_SECONDS = 2.0

_AGAIN = (ConnectionLoss, ConnectionClosedError, OperationTimeoutError, SessionExpiredError, SessionMovedError)

logging.getLogger("kazoo").addHandler(logging.NullHandler())  # what fails is told by exceptions


class Session:
    """Requests to the ensemble. Each raises GateError when it is not answered in time."""

    def __init__(self, client: KazooClient, tunnels: ssh.Tunnels, where: str) -> None:
        self._client, self._tunnels, self._where = client, tunnels, where

    @property
    def id(self) -> int:
        """The session's number; kazoo silently opens another one when a session has expired."""
        known = self._client.client_id
        return int(known[0]) if known else 0

    def read(self, path: str, seconds: float = WRITE_SECONDS) -> tuple[str, Any] | None:
        """Text and stat of a node as the leader has it now; None when it does not exist.

        An answer that lay here for a session's length, as after a pause of this process, is asked for again.
        """
        asked, deadline = _now(), monotonic() + seconds
        try:
            self._ask(lambda: self._client.sync_async(path), path, deadline)
            data, stat = self._ask(lambda: self._client.get_async(path), path, deadline)
        except NoNodeError:
            return None
        if _now() - asked >= SESSION_SECONDS:
            return self.read(path, seconds)
        return (data or b"").decode(errors="replace"), stat

    def create(self, path: str, text: str, *, ephemeral: bool = False, seconds: float = WRITE_SECONDS) -> bool:
        """False when the node is there already: perhaps made by this very request, its answer lost."""
        try:
            self._ask(
                lambda: self._client.create_async(path, text.encode(), ephemeral=ephemeral, makepath=True),
                path, monotonic() + seconds,
            )  # fmt: skip
        except NodeExistsError:
            return False
        return True

    def write(self, path: str, text: str, version: int, seconds: float = WRITE_SECONDS) -> bool:
        """False when the node is gone or has another version: perhaps by this very request."""
        try:
            self._ask(lambda: self._client.set_async(path, text.encode(), version), path, monotonic() + seconds)
        except (BadVersionError, NoNodeError):
            return False
        return True

    def delete(self, path: str, version: int, seconds: float = WRITE_SECONDS) -> bool:
        """False when the node is gone or has another version."""
        try:
            self._ask(lambda: self._client.delete_async(path, version), path, monotonic() + seconds)
        except (BadVersionError, NoNodeError):
            return False
        return True

    def write_if(self, guard: str, guard_version: int, path: str, text: str, version: int) -> bool:
        """Write `path` (version -1: make it) only while `guard` has its version, as one transaction."""

        def request() -> Any:
            change = self._client.transaction()
            change.check(guard, guard_version)
            if version < 0:
                change.create(path, text.encode())
            else:
                change.set_data(path, text.encode(), version)
            return change.commit_async()

        results = self._ask(request, path, monotonic() + WRITE_SECONDS)
        return not any(isinstance(result, Exception) for result in results)

    def _ask(self, request: Callable[[], Any], path: str, deadline: float) -> Any:
        while (left := deadline - monotonic()) > 0:
            try:
                return request().get(timeout=min(left, SLOW_SECONDS))
            except KazooTimeoutError:
                self._tunnels.drop()
            except _AGAIN:
                sleep(min(PAUSE_SECONDS, max(0.0, left)))
            except (NodeExistsError, NoNodeError, BadVersionError):
                raise
            except KazooException as error:
                raise DsdeployError(f"ZooKeeper refuses: {type(error).__name__} {error}".rstrip(),
                                    f"{path} in the {self._where}", "dsdeploy status SITE") from error  # fmt: skip
        raise GateError("the ensemble takes no write", self._where, "dsdeploy status SITE")


def _now() -> float:
    """Seconds on a clock that also runs while this computer sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextmanager
def session(site: Site, members: Sequence[str]) -> Iterator[Session]:
    """Open a session through these serving members.

    Raises HostUnreachable when none lets us in by SSH, GateError when none opens a session.
    """
    with ssh.tunnels(site, members, site.zookeeper.client_port) as tunnels:
        client = KazooClient(
            hosts=",".join(f"127.0.0.1:{port}" for port in tunnels.ports),
            timeout=SESSION_SECONDS,
            connection_retry={"max_tries": -1, "delay": 0.1, "backoff": 2, "max_delay": 1.0},
        )
        try:
            if not client.start_async().wait(CONNECT_SECONDS):
                if len(tunnels.problems) == len(members):
                    raise HostUnreachable(tunnels.problems)
                raise GateError("ZooKeeper opened no session", f"asked {', '.join(members)}", "dsdeploy status SITE")
            yield Session(client, tunnels, f"ensemble of {site.site}")
        finally:
            _close(client)


def _close(client: KazooClient) -> None:
    """Say goodbye, in bounded time: kazoo alone waits up to its session's length for members that are gone."""

    def stop() -> None:
        try:
            client.stop()
            client.close()
        except (KazooException, OSError, AttributeError):  # AttributeError: it never got as far as a socket
            pass

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    thread.join(CLOSE_SECONDS)
