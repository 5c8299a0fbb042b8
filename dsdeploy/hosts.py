"""Ask hosts for facts, all at once, over pyinfra's SSH. The only module that opens its connections.

Host keys are checked, an unknown or changed one is refused; nothing is taken from the operator's
~/.ssh/config, so that a read goes where Ansible goes. What a host prints is bounded and cleaned.
A host that cannot be read is a Reading with an error, never an exception and never a wait without end.
"""

from __future__ import annotations

import logging
import secrets
import shlex
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from dsdeploy.errors import Problem, SiteError
from dsdeploy.ssh import login_command

if TYPE_CHECKING:
    from dsdeploy.facts import Fact
    from dsdeploy.site import Site

T = TypeVar("T")

TIMEOUT = 60.0  # seconds for all facts of one host, after it is connected
_SILENCE = 15.0  # seconds until a host that is connected must have printed its first byte
_MOST_AT_ONCE = 64
_MOST_BYTES = 8 << 20
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Reading:
    """What one host said. `values` is keyed by the values' classes; `missing` has why one is not there."""

    host: str
    reachable: bool
    error: str = ""
    values: Mapping[type[Any], Any] = field(default_factory=dict)
    missing: Mapping[type[Any], str] = field(default_factory=dict)
    hint: str = ""

    def get(self, kind: type[T]) -> T | None:
        """The value of this class (or of a class made from it); None when it is unknown."""
        if kind in self.values:
            return cast(T, self.values[kind])
        return next((value for value in self.values.values() if isinstance(value, kind)), None)


def read(
    site: Site, *kinds: type[Any], names: Collection[str] | None = None, timeout: float = TIMEOUT
) -> dict[str, Reading]:
    """Facts of these kinds from all hosts of the site, or from those named, in the site's order.

    Works with real threads and under gevent's. Takes no longer than connect_timeout + timeout
    (seconds) for each 64 hosts, whatever a host does.
    """
    wanted = chosen(site, names)
    if not wanted:
        return {}
    state = _state(site, wanted)
    pool = ThreadPoolExecutor(max_workers=min(len(wanted), _MOST_AT_ONCE))
    limit = site.ssh.connect_timeout * 2 + timeout
    tasks = {host.name: pool.submit(_read_one, site, host, kinds, timeout) for host in state.inventory}
    wait(tasks.values(), timeout=limit * -(-len(wanted) // _MOST_AT_ONCE))
    readings = {name: _finished(site, name, tasks[name], limit) for name in wanted}
    for host in state.inventory:
        _close(host)  # also ends the threads that still wait for one
    pool.shutdown(wait=False, cancel_futures=True)
    return readings


def chosen(site: Site, names: Collection[str] | None) -> list[str]:
    """The named hosts, or all of them, in the site's order. Raises SiteError for a name the site lacks."""
    strange = [name for name in names or () if name not in site.hosts]
    if strange:
        what = f"the site has no host {', '.join(strange)}"
        raise SiteError([Problem(what, site.file.name, f"its hosts are {', '.join(site.hosts)}")])
    return [name for name in site.hosts if names is None or name in names]


def unreachable(readings: Mapping[str, Reading]) -> list[Problem]:
    """A problem for each host that could not be read, with the ssh line to try by hand."""
    return [
        Problem(f"{reading.host}: {reading.error}", f"host {reading.host}", reading.hint)
        for reading in readings.values()
        if not reading.reachable
    ]


def _state(site: Site, names: list[str]) -> Any:
    """pyinfra's state for these hosts: everything a connection needs is said here."""
    from pyinfra.api import Config, Inventory, State
    from pyinfra.connectors.sshuserclient import client

    logging.getLogger("pyinfra").setLevel(logging.CRITICAL)
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    client.get_host_keys.cache.clear()  # the file may have changed since the last read of this process
    seconds = site.ssh.connect_timeout
    data = {
        "ssh_user": site.ssh.user,
        "ssh_port": site.ssh.port,
        "ssh_key": str(site.ssh.identity) if site.ssh.identity else None,
        "ssh_known_hosts_file": str(site.ssh.known_hosts or Path.home() / ".ssh" / "known_hosts"),
        "ssh_strict_host_key_checking": "yes",
        "ssh_config_file": "/dev/null",
        "ssh_paramiko_connect_kwargs": {
            "banner_timeout": seconds, "auth_timeout": seconds, "channel_timeout": seconds,
        },
    }  # fmt: skip
    hosts = [(name, {"ssh_hostname": site.hosts[name].address}) for name in names]
    return State(Inventory((hosts, data)), Config(CONNECT_TIMEOUT=seconds))


def _read_one(site: Site, host: Any, kinds: tuple[type[Any], ...], timeout: float) -> Reading:
    from paramiko import SSHException
    from pyinfra.api.exceptions import PyinfraError

    from dsdeploy.facts import reader, script

    asked: list[tuple[type[Any], Fact[Any], str]] = []
    for kind in kinds:
        fact = reader(kind)
        arguments = fact.arguments(site, host.name)
        if arguments is not None:
            asked.append((kind, fact, fact.command(**arguments)))
    mark = f"dsdeploy-{secrets.token_hex(8)}"
    words = ["sh", "-c", script.build([command for _, _, command in asked], mark)]
    if site.ssh.user != "root":
        words = ["sudo", "-n", *words]
    try:
        host.connect(show_errors=False, raise_exceptions=True)
        said = _run(host.connector.client, shlex.join(words), timeout)
    except (PyinfraError, SSHException, OSError, EOFError, ValueError) as error:
        return Reading(host.name, False, _sentence(site, host.name, error), hint=login_command(site, host.name))
    parts = script.split(said.output, mark, len(asked))
    if asked and not any(part is not None for part in parts):
        last = script.clean(said.errors.strip().split(b"\n")[-1])[:200]
        why = f"SSH works, but no command runs for {site.ssh.user}: {last or said.ended}"
        return Reading(host.name, False, why, hint=login_command(site, host.name))
    return _reading(host.name, asked, parts, said)


def _reading(
    name: str,
    asked: list[tuple[type[Any], Fact[Any], str]],
    parts: list[list[str] | None],
    said: _Said,
) -> Reading:
    values, missing = {}, {}
    clock = f"controller {said.clock:.6f} {said.clock_error:.6f}"
    for (kind, fact, _), part in zip(asked, parts, strict=True):
        if part is None:
            missing[kind] = said.ended
        else:
            values[kind] = fact.process([clock, *part] if fact.timed else part)
    return Reading(name, True, "", values, missing)


@dataclass(frozen=True)
class _Said:
    """`ended` is why there is no more. `clock` is the controller's when the host began to answer, give or
    take `clock_error` seconds."""

    output: bytes
    errors: bytes
    ended: str
    clock: float
    clock_error: float


def _run(client: Any, command: str, timeout: float) -> _Said:
    """What a command prints, cut at a size and at a time; pyinfra's own reader has no bound, and loses it all then."""
    from paramiko import SSHException

    channel = client.get_transport().open_session(timeout=timeout)
    sent, first = time.time(), 0.0
    limit = time.monotonic() + min(_SILENCE, timeout)
    channel.settimeout(timeout)
    try:
        channel.exec_command(command)
    except SSHException:  # a shell that refuses may close before it said yes; its words tell why
        if not channel.closed:
            raise
    output, ended = bytearray(), f"it printed more than {_MOST_BYTES >> 20} MiB"
    while len(output) < _MOST_BYTES:
        channel.settimeout(max(limit - time.monotonic(), 0.01))
        try:
            data = channel.recv(_CHUNK)
        except TimeoutError:
            ended = "it did not finish in time" if first else "it printed nothing for too long"
            break
        if not data:
            ended = "it ended early"
            break
        if not first:
            first, limit = time.time(), limit + timeout
        output += data
    errors = channel.recv_stderr(_CHUNK) if channel.recv_stderr_ready() else b""
    channel.close()
    return _Said(bytes(output), errors, ended, (sent + first) / 2, (first - sent) / 2)


def _finished(site: Site, name: str, task: Future[Reading], limit: float) -> Reading:
    if task.done():
        return task.result()
    error = f"no SSH: {site.hosts[name].address} let the connection hang for {limit:.0f} s"
    return Reading(name, False, error, hint=login_command(site, name))


def _close(host: Any) -> None:
    client = host.connector.client
    if client is not None:
        client.close()


def _sentence(site: Site, name: str, error: BaseException) -> str:
    """What went wrong between us and a host, from pyinfra's error and the one beneath it."""
    address = site.hosts[name].address
    where = f"{address} port {site.ssh.port}"
    cause = error.__context__ or error
    kinds = {kind.__name__ for kind in type(cause).__mro__}
    text = str(cause)
    if "BadHostKeyException" in kinds:
        why = f"{where} shows another host key than known_hosts has: reinstalled, or somebody in between"
    elif "StrictPolicy" in text:
        why = f"{where} shows a host key that known_hosts does not have"
    elif "AuthenticationException" in kinds:
        key = site.ssh.identity or "the agent's and the user's own keys"
        why = f"{where} refuses {key} for user {site.ssh.user}"
    elif "gaierror" in kinds:
        why = f"the address {address} cannot be resolved"
    elif "TimeoutError" in kinds or any(word in text for word in ("timed out", "banner", "existing session")):
        why = f"{where} did not answer within {site.ssh.connect_timeout:g} s"
    elif "PyinfraError" in kinds:  # the private key: missing, damaged or encrypted
        why = text
    else:
        why = f"{where}: {_errno(cause) or text or type(cause).__name__}"
    return f"no SSH: {why}"


def _errno(cause: BaseException) -> str:
    """`Connection refused`, from paramiko's one error for all the addresses it tried."""
    errors = getattr(cause, "errors", None)
    found = {e.strerror for e in errors.values() if e.strerror} if isinstance(errors, dict) else set()
    return ", ".join(sorted(found))
