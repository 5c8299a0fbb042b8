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

    def script(self, text: str) -> str:
        """The same for a script of a shell there."""
        return self.on(shlex.quote(f"sh -c {shlex.quote(text)}"))

    def fact(self, name: str) -> Any:
        """The reading of this name, {} when there is none."""
        return self.facts.get(name) or {}


@dataclass(frozen=True)
class Evidence:
    """A site at one moment. `run` are the last lines of the newest run's logs on this computer, `<host>: ` before
    those that a host said.

    `known_hosts` is the site's own file of host keys, `stack` the drivers that are looked after; "" where it has none.
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
    stack: str = ""

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
        return f"{drop}; ssh-keyscan -p {port} {shlex.quote(address)} | tee -a {into} | ssh-keygen -lf -"

    def restart(self, name: str) -> str:
        """A line that brings a host's installed driver into memory; drained first, where its stack is looked after."""
        if self.stack:
            return "dsdeploy up SITE --only stack"
        return f"{self.hosts[name].on('systemctl reboot')}; dsdeploy check SITE" if name in self.hosts else ""

    def parked(self, name: str, colour: str) -> bool:
        """Another colour takes the host's requests, and the newest run ended well: how this one ended, and what it
        said, is about a run before."""
        servers = [
            server
            for host in self.hosts.values()
            for server in host.fact("RouterState").get("servers", ())
            if not server["drained"] and not server["status"].startswith(("MAINT", "DRAIN"))
        ]
        taking = {server["name"] for server in servers} & {f"{name}-blue", f"{name}-green"}
        return bool(taking) and f"{name}-{colour}" not in taking and self._ended_well()

    def _ended_well(self) -> bool:
        """The run with the highest epoch that any host knows of."""
        runs = [run for host in self.hosts.values() for run in host.facts.get("Runs") or ()]
        newest: Mapping[str, Any] = max(runs, key=_epoch, default={})
        last = newest.get("last", {})
        return bool(last.get("kind") == "end" and last.get("outcome") == "done")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _epoch(run: Mapping[str, Any]) -> int:
    found = (run.get(part, {}).get("epoch") for part in ("begin", "last"))
    return max((epoch for epoch in found if isinstance(epoch, int)), default=0)


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
        stack=site.stack if site.stack != "cpu" and site.packages.managed else "",
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
        dict(value["ports"]), hosts, tuple(value["run"]), value.get("known_hosts", ""), value.get("stack", ""),
    )  # fmt: skip
