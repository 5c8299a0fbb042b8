"""What the health timer of a host saw last, and did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact, number
from dsdeploy.facts.lines import document, text

if TYPE_CHECKING:
    from dsdeploy.site import Site

STATE = "/var/lib/dsdeploy/health/state.json"


@dataclass(frozen=True)
class HealthState:
    """`age` of the last look in seconds, by the host's own clock. `out` why the engine was taken out, "" if it was
    not; `held` what the timer would do and may not; `restarts` when and why, oldest first. `error`: all that is known.
    """

    phase: str = ""
    colour: str = ""
    why: str = ""
    age: float | None = None
    out: str = ""
    held: str = ""
    restarts: tuple[str, ...] = ()
    gpu_problems: tuple[str, ...] = ()
    error: str = ""


class HealthStateFact(Fact[HealthState]):
    value = HealthState

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return {} if site.health and "engine" in site.hosts[host].roles else None

    def command(self) -> str:
        return f"date +%s; [ -e {STATE} ] && head -c 65536 {STATE}"

    def process(self, output: list[str]) -> HealthState:
        if len(output) < 2 or not output[1]:
            return HealthState(
                error="the timer has not looked yet, or is not installed: dsdeploy up SITE --only health"
            )
        said = document(output[1])
        if not said:
            return HealthState(error=f"{STATE} cannot be read")
        now, at = number(output[0]), said.get("at")
        restarts, gpus = said.get("restarts"), said.get("gpu_problems")
        return HealthState(
            phase=text(said.get("phase")),
            colour=text(said.get("colour")),
            why=text(said.get("why")),
            age=round(max(0.0, now - at), 1) if now is not None and isinstance(at, (int, float)) else None,
            out=_note(said.get("out")),
            held=text(said.get("held"), 600),
            restarts=tuple(_note(one) for one in restarts[-8:]) if isinstance(restarts, list) else (),
            gpu_problems=tuple(text(one) for one in gpus[:16]) if isinstance(gpus, list) else (),
        )


def _note(value: object) -> str:
    """`20:15 UTC: no completion …` from what the timer noted of an action; "" when it noted none."""
    if not isinstance(value, dict):
        return ""
    at = value.get("at")
    if not isinstance(at, (int, float)) or not 0 < at < 1e11:
        return text(value.get("why"))
    return f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d %H:%M UTC}: {text(value.get('why'))}"
