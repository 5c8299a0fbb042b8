"""What is looked at: plain values, so that an archive of them is as good as the hosts themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site


@dataclass(frozen=True)
class HostEvidence:
    """One host. Readings are as JSON has them: a fact's fields by name; absent where it was not read."""

    roles: tuple[str, ...]
    address: str
    reachable: bool
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    log: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def fact(self, name: str) -> Any:
        """The reading of this name, {} when there is none."""
        return self.facts.get(name) or {}


@dataclass(frozen=True)
class Evidence:
    """A site at one moment. `run` are the last lines of the newest run's logs on this computer."""

    site: str
    file: str
    at: float
    model: str
    members: tuple[str, ...]
    ports: Mapping[str, int]
    hosts: Mapping[str, HostEvidence]
    run: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def gather(site: Site, readings: Mapping[str, Reading], run: tuple[str, ...] = ()) -> Evidence:
    """Readings as evidence; a host that was not read is there too."""
    ports = {
        "blue": site.engine.ports.blue, "green": site.engine.ports.green,
        "zookeeper": site.zookeeper.client_port, "router": site.router.port,
    }  # fmt: skip
    return Evidence(
        site=site.site,
        file=str(site.file),
        at=datetime.now(timezone.utc).timestamp(),
        model=site.model.name,
        members=tuple(member.host for member in site.members),
        ports=ports,
        hosts={name: _host(site, name, readings.get(name)) for name in site.hosts},
        run=run,
    )


def _host(site: Site, name: str, reading: Reading | None) -> HostEvidence:
    host = site.hosts[name]
    if reading is None:
        return HostEvidence(host.roles, host.address, False, "was not read")
    values = {kind.__name__: value for kind, value in reading.values.items()}
    log = values.pop("HostLog", None) or {}
    facts = {kind: plain(value) for kind, value in values.items()}
    return HostEvidence(host.roles, host.address, reading.reachable, reading.error, facts, dict(log))


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
            {source: tuple(lines) for source, lines in host["log"].items()},
        )
        for name, host in value["hosts"].items()
    }  # fmt: skip
    return Evidence(
        value["site"], value["file"], float(value["at"]), value["model"], tuple(value["members"]),
        dict(value["ports"]), hosts, tuple(value["run"]),
    )  # fmt: skip
