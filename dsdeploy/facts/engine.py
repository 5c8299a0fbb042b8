"""The two places an engine can run on a host, and what runs there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact, number
from dsdeploy.facts.shell import UNITS, answered, get, http_status, post, properties, sections, tcp

if TYPE_CHECKING:
    from dsdeploy.site import Site

_ROOT = "/srv/dsdeploy"
_HEALTH_SECONDS = 3
_ANSWER_SECONDS = 20
_RUNS = frozenset({"active", "activating", "reloading", "deactivating"})


@dataclass(frozen=True)
class EngineState:
    """One colour of a host.

    `release` is what the colour's link names, `running` what the live process was started from: they
    differ between a switch of the link and the restart. `health` is ok, loading or down. `answer` says
    whether a completion of one token came back; None when none was asked for.
    """

    colour: str
    release: str | None
    running: str | None
    unit: str  # active | failed | inactive
    port: int
    health: str
    answer: bool | None = None
    detail: str = ""  # systemd's words: `activating/auto-restart, exit-code`
    restarts: int = 0


class Engines(dict[str, EngineState]):
    """By colour: both of them, on every engine host."""


class AnsweringEngines(Engines):
    """The same, after each healthy engine was asked for a completion; `reading.get(Engines)` finds it too."""


class EnginesFact(Fact[Engines]):
    value = Engines

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        if "engine" not in site.hosts[host].roles:
            return None
        ports = {"blue": site.engine.ports.blue, "green": site.engine.ports.green}
        return {"address": site.hosts[host].address, "ports": ports}

    def command(self, address: str, ports: dict[str, int]) -> str:
        return "\n".join([_UNITS_COMMAND, *(_health(colour, address, port) for colour, port in ports.items())])

    def process(self, output: list[str]) -> Engines:
        return Engines(_states(output))


class AnsweringEnginesFact(Fact[AnsweringEngines]):
    value = AnsweringEngines

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        arguments = EnginesFact().arguments(site, host)
        return arguments and {**arguments, "model": site.model.name}

    def command(self, address: str, ports: dict[str, int], model: str) -> str:
        body: dict[str, object] = {"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0}
        request = post("/v1/completions", address, body)
        parts = [
            f"{_health(colour, address, port)}\n"
            f"case $said in '| HTTP/1.'?' 200'*) echo '== answer {colour}'\n"
            f"{tcp(address, port, request, _ANSWER_SECONDS)} ;; esac"
            for colour, port in ports.items()
        ]
        return "\n".join([_UNITS_COMMAND, *parts])

    def process(self, output: list[str]) -> AnsweringEngines:
        return AnsweringEngines(_states(output))


_UNITS_COMMAND = f"""
for c in blue green; do echo "== link $c"; readlink {_ROOT}/$c; done
echo '== units'
systemctl show {UNITS} dsdeploy-engine@blue.service dsdeploy-engine@green.service
for c in blue green; do
  pid=$(systemctl show -p MainPID dsdeploy-engine@$c.service); pid=${{pid#MainPID=}}
  echo "== cwd $c"; [ "${{pid:-0}}" -gt 0 ] && readlink "/proc/$pid/cwd"
done
"""


def _health(colour: str, address: str, port: int) -> str:
    """Print what /health says, and keep it in $said."""
    said = tcp(address, port, get("/health", address), _HEALTH_SECONDS)
    return f"said=$({said}); echo '== health {colour} {port}'; printf '%s\\n' \"$said\""


def _states(output: list[str]) -> dict[str, EngineState]:
    found = sections(output)
    units = properties(found.get("units", []))
    states = {}
    for title, lines in found.items():
        words = title.split()
        if len(words) == 3 and words[0] == "health" and words[1] in ("blue", "green"):
            unit = units.get(f"dsdeploy-engine@{words[1]}.service", {})
            states[words[1]] = _state(words[1], number(words[2]) or 0, unit, lines, found)
    return states


def _state(colour: str, port: int, unit: dict[str, str], health: list[str], found: dict[str, list[str]]) -> EngineState:
    status = http_status(answered(health))
    answer = found.get(f"answer {colour}")
    return EngineState(
        colour=colour,
        release=_release(found.get(f"link {colour}", [])),
        running=_release(found.get(f"cwd {colour}", [])),
        unit=_unit(unit.get("ActiveState", "")),
        port=port,
        health={200: "ok", 503: "loading"}.get(status or 0, "down"),
        answer=None if answer is None else _completion(answered(answer)),
        detail=_detail(unit),
        restarts=number(unit.get("NRestarts", "")) or 0,
    )


def _unit(active_state: str) -> str:
    return active_state if active_state == "failed" else "active" if active_state in _RUNS else "inactive"


def _release(lines: list[str]) -> str | None:
    """`r1` from `releases/r1` or `/srv/dsdeploy/releases/r1/…`; None for any other place."""
    _, mark, rest = (lines[0] if lines else "").partition("releases/")
    return (rest.split("/")[0] or None) if mark else None


def _detail(unit: dict[str, str]) -> str:
    if not unit or unit.get("LoadState") == "not-found":
        return "no such unit"
    text = f"{unit.get('ActiveState', '')}/{unit.get('SubState', '')}"
    return text if unit.get("Result", "success") == "success" else f"{text}, {unit['Result']}"


def _completion(lines: list[str]) -> bool:
    """200 and a JSON body with at least one choice."""
    if http_status(lines) != 200 or "" not in lines:
        return False
    body = "\n".join(lines[lines.index("") + 1 :])
    try:
        value, _ = json.JSONDecoder().raw_decode(body[body.index("{") :])
    except (ValueError, RecursionError):
        return False
    return bool(value.get("choices"))
