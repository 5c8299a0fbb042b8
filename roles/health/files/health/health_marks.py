"""The state of a tick as node_exporter's textfile collector reads it."""

from __future__ import annotations

from typing import Any, Dict, List

PHASES = ("none", "two", "stopped", "refused", "failed", "starting", "ok", "slow", "strange", "wedged", "part")


def render(state: Dict[str, Any]) -> str:
    """The whole file: one line for each phase, so that a change is seen in two of them."""
    lines: List[str] = []

    def add(name: str, kind: str, words: str, *samples: str) -> None:
        lines.extend([f"# HELP dsdeploy_{name} {words}", f"# TYPE dsdeploy_{name} {kind}"])
        lines.extend(f"dsdeploy_{name}{sample}" for sample in samples)

    phases = (f'{{phase="{phase}"}} {int(state["phase"] == phase)}' for phase in PHASES)
    add("engine_phase", "gauge", "1 for what the engine of this host is seen to do.", *phases)
    add(
        "health_restarts_total", "counter", "Restarts of a wedged engine by the health timer.", f" {state['restarted']}"
    )
    add(
        "engine_out",
        "gauge",
        "1 while the health timer has taken the engine out of the pool.",
        f" {int(bool(state['out']))}",
    )
    add("engine_held", "gauge", "1 while it would act and may not.", f" {int(bool(state['held']))}")
    add("health_timestamp_seconds", "gauge", "When the health timer looked last.", f" {state['at']:.17g}")
    return "\n".join(lines) + "\n"
