"""make bench-switch: BENCH_SWITCHES (20) times `upgrade` and `rollback` in turn, under open-loop load all the time.

BENCH_RATE (40) requests a second through the virtual address, until at least BENCH_REQUESTS (30000) have been made:
half kept-alive, a tenth streams. Then the same kind of load on nginx, switched as often by a reload.
Exit 1 when a request failed or was truncated, or was answered by a release outside of its window.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from dsdeploy import journal

from ..load import judge
from ..load.history import Request
from . import nginx
from .lab import Bench, BenchError, say, serving, until
from .traffic import Traffic, flowing
from .windows import Switch, overstay, switch, windows

SWITCHES = int(os.environ.get("BENCH_SWITCHES", "20"))
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "30000"))
RATE = float(os.environ.get("BENCH_RATE", "40"))
# The processors of this computer may be another's for a second. What is measured is switching, not how soon a death is
# noticed: that is bench-failover's, at the default.
FAILOVER = "5s"
SHOWN = 5  # offending requests in the line, at most
VERSIONS = ("version: v1", "version: v2"), ("/v1/", "/v2/")


def serves(bench: Bench) -> str:
    """The one release that every router sends requests to. Raises BenchError when it is not one."""
    found = {
        str(server["release"])
        for router in bench.site.with_role("router")
        for server in bench.routing(router).get("servers", [{"release": f"({router} is silent)", "state": "ready"}])
        if server["state"] == "ready"
    }
    if len(found) != 1:
        raise BenchError(f"in rotation are the releases {sorted(found)}")
    return found.pop()


def runs(bench: Bench) -> set[Path]:
    return set((bench.folder / ".dsdeploy" / bench.site.site / "runs").glob("*"))


def once(bench: Bench, number: int, traffic: Traffic) -> tuple[Switch, float]:
    """One upgrade or rollback, as an operator gives it; what its journal says, and the seconds it took."""
    verb = "rollback" if number % 2 else "upgrade"
    if number == 0:
        text = bench.file.read_text()
        for old, new in VERSIONS:
            text = text.replace(old, new)
        bench.file.write_text(text)
    before, known, began = serves(bench), runs(bench), time.monotonic()
    bench.run(verb, str(bench.file), "--yes")
    took = time.monotonic() - began
    moved = [folder for folder in runs(bench) - known if (folder / journal.NAME).exists()]
    if len(moved) != 1:
        raise BenchError(f"{verb} left the journals {sorted(moved)}")
    found = switch(moved[0].name, before, serves(bench), journal.read(moved[0] / journal.NAME))
    if found.before == found.after:
        raise BenchError(f"{verb}: {found.before} serves as before")
    say(f"{number + 1}/{SWITCHES} {verb}: {found.before} -> {found.after} in {took:.0f} s, {traffic.ended()} requests")
    return found, took


def verdict(history: tuple[Request, ...], switches: list[Switch], seconds: list[float]) -> dict[str, Any]:
    strays = judge.outside(history, windows(switches))
    return {
        "switches": len(switches),
        "outside": len(strays),
        "unnamed": judge.unnamed(history),
        "old_answered_after_ms": round(
            max(
                (1000 * overstay(history, this.before, this.until, _next(switches, this)) for this in switches),
                default=0,
            ),
            1,
        ),
        "switch_window_ms": [round(1000 * (this.until - this.since)) for this in switches],
        "run_s": [round(took, 1) for took in seconds],
        "releases": {name: said["answers"] for name, said in judge.releases(history).items()},
        **judge.summary(history),
        "offenders": [vars(request) for request in (*strays, *(r for r in history if not r.ok))][:SHOWN],
    }


def _next(switches: list[Switch], this: Switch) -> float:
    """When the release that `this` took out may be back, or the end of time."""
    return min((other.since for other in switches if other.since > this.until), default=float("inf"))


def main() -> int:
    with serving(failover=FAILOVER) as bench:
        with flowing(
            bench.folder / "switch.jsonl", f"{bench.vip}:{bench.site.router.port}", RATE, "deepseek-tiny"
        ) as load:
            done = [once(bench, number, load) for number in range(SWITCHES)]
            left = max(REQUESTS - load.ended(), 0)
            say(f"{left} requests to go")
            until(lambda: load.ended() >= REQUESTS, 60 + 2 * left / RATE, lambda: f"{load.ended()} requests")
        found = verdict(load.history(), [switched for switched, _ in done], [took for _, took in done])
        found["address_moves"] = bench.moves(load.history()[0].due)  # each ends the connections of that moment
        bench.whole()
        beside = nginx.measure(bench, RATE, SWITCHES)
    promised = ("failed", "truncated", "outside", "unnamed", "missing")
    good = not any(found[name] for name in promised) and found["requests"] >= REQUESTS
    line = {
        "bench": "switch", "ok": good, "requests_per_second": RATE, "processors": os.cpu_count(),
        "dsdeploy": found, "nginx_reload": beside,
    }  # fmt: skip
    print(json.dumps(line), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        say(str(error))
        sys.exit(2)
