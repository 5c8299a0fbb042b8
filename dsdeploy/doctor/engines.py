"""Engines that do not serve, and ports that others have, from what hosts say of themselves now. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dsdeploy.doctor.evidence import Evidence, HostEvidence
from dsdeploy.doctor.finding import Finding

OURS = {"router": "haproxy", "zookeeper": "java"}  # the process of each role that has one port


def ports(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    """A port of ours on which another program listens."""
    wanted = {given.ports[role]: (role, process) for role, process in OURS.items() if role in host.roles}
    wanted |= {given.ports[c]: (f"{c} engine", "") for c, state in _states(host).items() if not _lives(state)}
    for port in host.fact("Ports") or []:
        part, ours = wanted.get(port["port"], ("", port["process"]))
        if part and port["process"] not in (ours, ""):
            yield Finding(
                "port",
                name,
                f"port {port['port']} of {name} is taken by {port['process']} (pid {port['pid']})",
                f"the {part} cannot start while it listens there; what must stay needs another port in the site file",
                f"{host.on('kill ' + str(port['pid']))} && dsdeploy up SITE",
                3,
            )


def engine(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    """Slow is not dead: a process that loads is left alone, one that systemd starts again and again is not."""
    for colour, state in _states(host).items():
        if given.parked(name, colour):
            continue
        where, unit = f"the {colour} engine of {name}", f"dsdeploy-engine@{colour}"
        if "auto-restart" in state["detail"] or state["unit"] == "failed":
            yield Finding(
                "start-dead",
                name,
                f"{where} does not start: {state['detail']}, {state['restarts']} restarts",
                "it ends each time; its last lines say why",
                f"{host.on(f'journalctl -u {unit} -n 50')}; dsdeploy up SITE",
                4,
            )
        elif state["unit"] == "active" and (state["health"] == "loading" or _begins(state)):
            yield Finding(
                "start-slow",
                name,
                f"{where} still loads",
                "reading weights takes minutes; its process lives, and systemd waits for it as this command does",
                f"{host.on(f'systemctl start {unit}')}; dsdeploy status SITE",
                8,
            )
        elif state["unit"] == "active" and state["health"] == "down" and "activating" not in state["detail"]:
            yield Finding(
                "hung",
                name,
                f"{where} runs and answers nothing",
                "its process hangs",
                host.on(f"systemctl restart {unit}"),
                3,
            )


def _states(host: HostEvidence) -> dict[str, Any]:
    found: dict[str, Any] = host.fact("Engines") or host.fact("AnsweringEngines")
    return found


def _begins(state: dict[str, Any]) -> bool:
    """Started, and not ready: some answer nothing at all until they are."""
    return bool(state["health"] == "down" and state["detail"].startswith("activating/start"))


def _lives(state: dict[str, Any]) -> bool:
    """A process of ours may listen on its port."""
    return bool(state["unit"] == "active" and "auto-restart" not in state["detail"])
