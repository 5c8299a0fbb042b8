"""make bench-failover: what callers see when a router or an engine dies, hangs, or loses its network.

BENCH_RATE (40) requests a second through the virtual address, each fault BENCH_TIMES (3) times. With engine faults, a
HAProxy with its default settings stands beside, on another port of the first router, and gets half the rate.
Exit 1 when a gap is 500 ms or longer, when an engine's fault fails a read, or when something fails after the gap.

A gap that is too long while the generator itself did not get to run for STARVED_MS says nothing about the fault: that
strike is repeated, three times in all at most, and listed. Failed requests are never excused that way.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import product
from typing import Any

from ..load import judge
from ..load.judge import Gap
from .faults import FAULTS, Fault
from .lab import Bench, BenchError, say, serving
from .traffic import flowing

LIMIT_MS = 500.0
STARVED_MS = 100.0
REPEATS = 3
RATE = float(os.environ.get("BENCH_RATE", "40"))
TIMES = int(os.environ.get("BENCH_TIMES", "3"))
ONLY = os.environ.get("BENCH_ONLY", "").split()
SETTLE_S = 2.0
PATIENCE_S = 3.0  # a caller gives up then: sooner than a fault is healed, so that none is saved by that
PORT = 8091
DEFAULTS = """\
# HAProxy as its manual's first example has it: checks every 2 s, three in a row decide, no redispatch
global
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
listen defaults
    bind {address}:{port}
    option httpchk GET /health
{servers}
"""


@contextmanager
def defaults_beside(bench: Bench) -> Iterator[str]:
    """A HAProxy with default settings before the same engines; ADDRESS:PORT of it."""
    router = bench.site.with_role("router")[0]
    ports = bench.site.engine.ports
    servers = "\n".join(
        f"    server {host} {bench.address(host)}:{getattr(ports, colour)} check"
        for host, colour in bench.active().items()
    )
    config = DEFAULTS.format(address=bench.address(router), port=PORT, servers=servers)
    bench.ssh(router, f"cat > /run/bench-haproxy.cfg <<'END'\n{config}END\nhaproxy -c -q -f /run/bench-haproxy.cfg")
    bench.ssh(router, "systemd-run --quiet --collect --unit bench-haproxy haproxy -db -f /run/bench-haproxy.cfg")
    try:
        yield f"{bench.address(router)}:{PORT}"
    finally:
        bench.ssh(router, "systemctl stop bench-haproxy", check=False)


def once(bench: Bench, fault: Fault, number: int) -> dict[str, Gap]:
    """One strike under load: target name -> what its callers saw."""
    bench.whole()
    site, engines = bench.site, bench.site.with_role("engine")
    host = bench.holders()[0] if fault.router else engines[number % len(engines)]
    with ExitStack() as beside:
        targets = {"dsdeploy": (f"{bench.vip}:{site.router.port}", RATE)}
        if not fault.router:
            targets["haproxy_defaults"] = (beside.enter_context(defaults_beside(bench)), RATE / 2)
        with ExitStack() as loads:
            running = {
                name: loads.enter_context(
                    flowing(bench.folder / f"{name}.jsonl", target, rate, site.model.name, PATIENCE_S)
                )
                for name, (target, rate) in targets.items()
            }
            time.sleep(SETTLE_S)
            at = fault.strike(bench, host)
            try:
                time.sleep(fault.hold)
            finally:
                fault.heal(bench, host)
            time.sleep(SETTLE_S)
        found = {name: judge.gap(traffic.history(), at, severed=fault.router) for name, traffic in running.items()}
    for name, gap in found.items():
        say(f"{fault.name} {number + 1}/{TIMES} on {host}, {name}: {json.dumps(asdict(gap))}")
    return found


def gap_ms(fault: Fault, gap: Gap) -> float:
    """The longest gap a client saw. What waited on connections that a router took along counts as failed or late."""
    seen = max(gap.silence_ms, gap.dark_ms)
    return seen if fault.router else max(seen, gap.wait_ms)


def too_long(fault: Fault, gap: Gap) -> list[str]:
    return [f"{fault.name}: a gap of {gap_ms(fault, gap):.0f} ms"] if gap_ms(fault, gap) >= LIMIT_MS else []


def lost(fault: Fault, gap: Gap) -> list[str]:
    """Requests that were promised an answer and got none."""
    said = [f"{fault.name}: {gap.after} failed after the gap"] if gap.after else []
    if not fault.router and gap.failed_idempotent:
        said.append(f"{fault.name}: {gap.failed_idempotent} reads failed")
    return said


def starved(fault: Fault, gap: Gap) -> bool:
    """Too long, and the computer was too busy to tell why."""
    return gap_ms(fault, gap) >= LIMIT_MS and gap.lag_ms >= STARVED_MS


def row(fault: Fault, gaps: Sequence[Gap]) -> dict[str, Any]:
    """One fault, all its strikes: lists are in the order of the strikes."""
    columns = {name: [getattr(gap, name) for gap in gaps] for name in asdict(gaps[0])} if gaps else {}
    found = [gap_ms(fault, gap) for gap in gaps]
    return {"longest_gap_ms": max(found, default=None), "gap_ms": found, **columns}


def main() -> int:
    faults = [fault for fault in FAULTS if not ONLY or fault.name in ONLY]
    found: dict[str, dict[str, list[Gap]]] = {"dsdeploy": {}, "haproxy_defaults": {}}
    wrong: list[str] = []
    repeated: list[dict[str, Any]] = []
    with serving() as bench:
        for fault, number in product(faults, range(TIMES)):
            seen = once(bench, fault, number)
            while starved(fault, seen["dsdeploy"]) and len(repeated) < REPEATS:
                repeated.append({"fault": fault.name, **asdict(seen["dsdeploy"])})
                wrong += lost(fault, seen["dsdeploy"])
                seen = once(bench, fault, number)
            wrong += lost(fault, seen["dsdeploy"]) + too_long(fault, seen["dsdeploy"])
            for name, gap in seen.items():
                found[name].setdefault(fault.name, []).append(gap)
        bench.whole()
    rows = {
        name: {fault.name: row(fault, gaps[fault.name]) for fault in faults if fault.name in gaps}
        for name, gaps in found.items()
    }
    line = {
        "bench": "failover", "ok": not wrong, "wrong": wrong, "limit_ms": LIMIT_MS, "requests_per_second": RATE,
        "patience_s": PATIENCE_S, "held_s": {fault.name: fault.hold for fault in faults}, "times": TIMES,
        "processors": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1), "repeated": repeated, **rows,
    }  # fmt: skip
    print(json.dumps(line), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        say(str(error))
        sys.exit(2)
