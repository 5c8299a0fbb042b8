"""Which engines a router sends requests to, in its own program's words.

RouterState is what clients see and needs nothing of ours on the host; this is for decisions: states of
single servers, open requests counted over old workers too, and whether disk and process agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact
from dsdeploy.facts.lines import count, documents, text
from dsdeploy.facts.python import PYTHON
from dsdeploy.facts.shell import sections

if TYPE_CHECKING:
    from dsdeploy.site import Site

PROGRAM = "/usr/local/lib/dsdeploy/router/dsdeploy_router.py"
_SECONDS = 5
_STATES = ("ready", "drain", "maint")


@dataclass(frozen=True)
class RotationServer:
    """One colour of one engine host. `open` counts requests it still answers; `up` is the last check's word."""

    name: str  # <host>-<colour>
    host: str
    colour: str
    state: str  # ready | drain | maint; unknown when the program says something else
    up: bool
    open: int
    release: str


@dataclass(frozen=True)
class Rotation:
    """`running` is False when the program gave no picture, `error` says why, and nothing else is known then.

    `active` is host -> colour in rotation. `persisted`: the files on disk would bring this rotation back.
    `config_runs`: the process was started from the file on disk, colours aside. `old_workers` still
    answer requests they got before a reload.
    """

    running: bool
    servers: tuple[RotationServer, ...] = ()
    active: dict[str, str] = field(default_factory=dict)
    persisted: bool = False
    config_runs: bool = False
    old_workers: int = 0
    error: str = ""

    @property
    def releases(self) -> tuple[str, ...]:
        """Releases that new requests go to, sorted."""
        return tuple(sorted({one.release for one in self.servers if one.state == "ready" and one.release}))

    def server(self, host: str, colour: str) -> RotationServer | None:
        return next((one for one in self.servers if (one.host, one.colour) == (host, colour)), None)


class RotationFact(Fact[Rotation]):
    value = Rotation

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return {} if "router" in site.hosts[host].roles else None

    def command(self) -> str:
        show = f"timeout -k 1 {_SECONDS} {PYTHON} -B {PROGRAM} show 2>&1"
        said = f"echo '== said'; {{ {show}; rc=$?; echo; echo \"== end $rc\"; }} | head -c 524288"
        return f"if [ -f {PROGRAM} ]; then {said}; else echo '== absent'; fi"

    def process(self, output: list[str]) -> Rotation:
        found = sections(output)
        if "absent" in found:
            return Rotation(False, error="the router's program is not installed")
        said = found.get("said", [])
        picture = next(iter(documents(said)), {})
        servers = tuple(_server(one) for one in _dicts(picture.get("servers")))
        if not servers:
            return Rotation(False, error=text(picture.get("failed"), 1000) or _why(said, found))
        active = picture.get("active")
        pairs = active.items() if isinstance(active, dict) else ()
        old = picture.get("old_workers")
        return Rotation(
            running=True,
            servers=servers,
            active={str(host)[:300]: text(colour) for host, colour in pairs},
            persisted=picture.get("persisted") is True,
            config_runs=picture.get("config_runs") is True,
            old_workers=len(old) if isinstance(old, list) else count(old),
        )


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _server(one: dict[str, Any]) -> RotationServer:
    state = text(one.get("state"))
    return RotationServer(
        name=text(one.get("name")),
        host=text(one.get("host")),
        colour=text(one.get("colour")),
        state=state if state in _STATES else "unknown",
        up=one.get("up") is True,
        open=count(one.get("open")),
        release=text(one.get("release")),
    )


def _why(said: list[str], found: dict[str, list[str]]) -> str:
    """Why there is no picture: no time, or the last words of the program."""
    if "end 124" in found or "end 137" in found:
        return f"the router's program gave no answer within {_SECONDS} s"
    words = [line.strip() for line in said if line.strip()]
    return words[-1][:300] if words else "the router's program said nothing"
