"""Ways to die, and back: each strikes a machine of the lab and says when it did."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from .lab import Bench, BenchError

# a unit's processes, without asking systemd to do it: the time that is printed is that of the signal
SIGNAL = (
    "main=$(systemctl show -p MainPID --value {unit}); "
    'pids="$main $(cat /proc/$main/task/*/children)"; date +%s.%N; kill -{signal} $pids'
)
START = "systemctl reset-failed {unit}; systemctl is-active --quiet {unit} || systemctl start {unit}"


@dataclass(frozen=True)
class Fault:
    """`router`: strikes the one that has the virtual address, else an engine. `hold`: seconds until it is healed."""

    name: str
    router: bool
    hold: float
    strike: Callable[[Bench, str], float]
    heal: Callable[[Bench, str], object]


def unit(bench: Bench, host: str) -> str:
    """The service that is struck on this host."""
    if host in bench.site.with_role("router"):
        return "haproxy.service"
    return f"dsdeploy-engine@{bench.active()[host]}.service"


def signal(name: str) -> Callable[[Bench, str], float]:
    """Sends it to the service's processes; seconds since 1970, taken just before."""
    return lambda bench, host: float(bench.ssh(host, SIGNAL.format(unit=unit(bench, host), signal=name)).split()[0])


def start(bench: Bench, host: str) -> str:
    return bench.ssh(host, START.format(unit=unit(bench, host)))


def cable(bench: Bench, host: str) -> str:
    """This computer's end of the machine's network cable."""
    peer = int(bench.ssh(host, "cat /sys/class/net/eth0/iflink"))
    shown = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout
    for link in json.loads(shown):
        if link["ifindex"] == peer:
            return str(link["ifname"])
    raise BenchError(f"{host}: no interface of this computer is number {peer}")


def plugs() -> tuple[Callable[[Bench, str], float], Callable[[Bench, str], object]]:
    """Pull the cable, and put it back: carrier is lost, nothing is said to anybody."""
    pulled: dict[str, str] = {}

    def pull(bench: Bench, host: str) -> float:
        pulled[host] = cable(bench, host)
        at = time.time()
        subprocess.run(["ip", "link", "set", "dev", pulled[host], "down"], check=True)
        return at

    def push(bench: Bench, host: str) -> None:
        if name := pulled.pop(host, ""):
            subprocess.run(["ip", "link", "set", "dev", name, "up"], check=True)

    return pull, push


FAULTS = (
    Fault("router_killed", True, 4, signal("KILL"), start),
    Fault("router_hung", True, 4, signal("STOP"), signal("CONT")),
    Fault("link_down", True, 4, *plugs()),
    Fault("engine_killed", False, 10, signal("KILL"), start),
    Fault("engine_hung", False, 15, signal("STOP"), signal("CONT")),
)
