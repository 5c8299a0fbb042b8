"""The state of a site as values: what `status` shows, as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from dsdeploy.quorum import Quorum

if TYPE_CHECKING:
    from dsdeploy.facts.kept import Kept


@dataclass(frozen=True)
class HostStatus:
    """`engine` is ok, loading or down for the colour that takes requests; None where no engine belongs."""

    address: str
    reachable: bool
    roles: tuple[str, ...]
    release: str | None
    colour: str | None
    engine: str | None
    zookeeper: str | None
    weights: dict[str, str]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    watched: tuple[str, ...] = ()  # problems of GPUs and what the health timer did: no run made or can mend them
    kept: Kept | None = None  # ages of backup, verification and logs; None where the site file asks for neither
    figures: dict[str, float] = field(default_factory=dict)  # see dsdeploy.figures


@dataclass(frozen=True)
class RouterStatus:
    """`release` is what answered a request through this router; None when none or several did."""

    active: bool
    release: str | None
    backends_up: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """A whole site. `problems` are those of no single host; hosts and routers carry their own."""

    site: str
    healthy: bool
    verdict: str
    release: str | None
    quorum: Quorum
    hosts: dict[str, HostStatus]
    routers: dict[str, RouterStatus]
    problems: tuple[str, ...]
    unfinished: str | None = None  # a run that moves releases and has not ended: under way, or left

    def named(self, watched: bool = True) -> list[tuple[str, str]]:
        """Every problem with the host it is on, "" for the site's own; those of GPUs and timers only if `watched`."""
        found = [("", problem) for problem in self.problems]
        for name, host in self.hosts.items():
            found += [(name, problem) for problem in (*host.problems, *(host.watched if watched else ()))]
            router = self.routers.get(name)
            if router and host.reachable:  # otherwise the host's own problem says it
                found += [(name, problem) for problem in router.problems]
        return found

    def as_json(self) -> dict[str, Any]:
        """What `status --json` prints; serving, voters and majority are counts, members have the names."""
        value = asdict(self)
        serving = self.quorum.serving
        value["quorum"] = {
            "ok": self.quorum.ok,
            "leader": self.quorum.leader,
            "serving": len(serving),
            "voters": len(self.quorum.voters),
            "majority": self.quorum.majority,
            "why": self.quorum.why,
            "members": {name: name in serving for name in self.quorum.voters},
        }
        return value
