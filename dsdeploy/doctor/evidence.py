"""What is looked at: plain values, so that an archive of them is as good as the hosts themselves."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site


@dataclass(frozen=True)
class HostEvidence:
    """One host. Readings are as JSON has them: a fact's fields by name; absent where it was not read.

    `login` are the words that reach it by ssh.
    """

    roles: tuple[str, ...]
    address: str
    reachable: bool
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    log: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    login: tuple[str, ...] = ()

    def on(self, command: str) -> str:
        """A line for the operator's shell that runs one command there, as root."""
        words = self.login or ("ssh", self.address)
        user = words[-1].rpartition("@")[0] or "root"
        return f"{shlex.join(words)} {'' if user == 'root' else 'sudo '}{command}"

    def fact(self, name: str) -> Any:
        """The reading of this name, {} when there is none."""
        return self.facts.get(name) or {}


@dataclass(frozen=True)
class Evidence:
    """A site at one moment. `run` are the last lines of the newest run's logs on this computer.

    `known_hosts` is the site's own file of host keys; "" where it has none.
    """

    site: str
    file: str
    at: float
    model: str
    members: tuple[str, ...]
    ports: Mapping[str, int]
    hosts: Mapping[str, HostEvidence]
    run: tuple[str, ...] = ()
    known_hosts: str = ""

    @property
    def router(self) -> str:
        """address:port of a router, of one that can be reached if there is one."""
        routers = [host for host in self.hosts.values() if "router" in host.roles]
        address = next((host.address for host in sorted(routers, key=lambda one: not one.reachable)), "ROUTER")
        return f"[{address}]:{self.ports['router']}" if ":" in address else f"{address}:{self.ports['router']}"

    def forget(self, address: str) -> str:
        """Lines for the operator's shell that put a host's present key in the place of the one that was known."""
        port = self.ports.get("ssh", 22)
        name = address if port == 22 else f"[{address}]:{port}"
        file = ["-f", self.known_hosts] if self.known_hosts else []
        into = shlex.quote(self.known_hosts) if self.known_hosts else "~/.ssh/known_hosts"
        drop = shlex.join(["ssh-keygen", "-R", name, *file])
        return f"{drop}; ssh-keyscan -p {port} {shlex.quote(address)} >>{into}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def gather(site: Site, readings: Mapping[str, Reading], run: tuple[str, ...] = ()) -> Evidence:
    """Readings as evidence; a host that was not read is there too."""
    from dsdeploy.ssh import login_words

    ports = {
        "blue": site.engine.ports.blue, "green": site.engine.ports.green,
        "zookeeper": site.zookeeper.client_port, "router": site.router.port,
        "ssh": site.ssh.port,
    }  # fmt: skip
    return Evidence(
        site=site.site,
        file=str(site.file),
        at=datetime.now(timezone.utc).timestamp(),
        model=site.model.name,
        members=tuple(member.host for member in site.members),
        ports=ports,
        hosts={name: _host(site, name, readings.get(name), login_words(site, name)) for name in site.hosts},
        run=run,
        known_hosts=str(site.ssh.known_hosts or ""),
    )


def _host(site: Site, name: str, reading: Reading | None, login: Sequence[str]) -> HostEvidence:
    host, way = site.hosts[name], tuple(login)
    if reading is None:
        return HostEvidence(host.roles, host.address, False, "was not read", login=way)
    values = {kind.__name__: value for kind, value in reading.values.items()}
    log = values.pop("HostLog", None) or {}
    facts = {kind: plain(value) for kind, value in values.items()}
    return HostEvidence(host.roles, host.address, reading.reachable, reading.error, facts, dict(log), way)


def plain(value: Any) -> Any:
    """A fact's value as JSON has it."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def from_json(value: Mapping[str, Any]) -> Evidence:
    """The same evidence again. Raises KeyError or TypeError for what is none."""
    hosts = {
        name: HostEvidence(
            tuple(host["roles"]), host["address"], host["reachable"], host["error"], host["facts"],
            {source: tuple(lines) for source, lines in host["log"].items()}, tuple(host.get("login", ())),
        )
        for name, host in value["hosts"].items()
    }  # fmt: skip
    return Evidence(
        value["site"], value["file"], float(value["at"]), value["model"], tuple(value["members"]),
        dict(value["ports"]), hosts, tuple(value["run"]), value.get("known_hosts", ""),
    )  # fmt: skip
