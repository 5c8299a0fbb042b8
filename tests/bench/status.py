"""make bench-status: how long `dsdeploy status` takes, beside what an operator has without it; one JSON line.

BENCH_RUNS (10) looks each way, in turns, so that all meet the same load: `status`; `ssh HOST true`, one host after the
other; Ansible's `ping` of all hosts at once, whose connections stay open from run to run. The first look each way is
not counted: it fills caches. Seconds are by the clock, from the start of the command to its end; CPU seconds are this
computer's for the command alone, and tell a slow command from a busy computer. Exit 1 when the median of `status` is
LIMIT_S or more.

STATUS='--site site.yml' looks at a site that serves already, else a lab is made for it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsdeploy import inventory
from dsdeploy.lab import access
from dsdeploy.site import Site, load

from .lab import ROOT, BenchError, say, serving
from .plays import spent

LIMIT_S = 2.0
RUNS = int(os.environ.get("BENCH_RUNS", "10"))


def environment() -> dict[str, str]:
    """An installed dsdeploy has its modules compiled; nothing may keep this one from that."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def finished(argv: list[str], codes: tuple[int, ...] = (0,)) -> None:
    """Run it to its end. Raises BenchError for another exit code."""
    done = subprocess.run(
        argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=ROOT, env=environment(), check=False
    )
    if done.returncode not in codes:
        raise BenchError(f"{argv[:6]}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def ways(site: Site, hosts: Path) -> dict[str, Callable[[], None]]:
    """Name -> what is measured. `hosts` is an inventory that Ansible reads."""
    ansible = [str(Path(sys.executable).parent / "ansible"), "all", "-i", str(hosts), "-m", "ansible.builtin.ping"]

    def status() -> None:
        finished([sys.executable, "-m", "dsdeploy", "status", str(site.file)])

    def ssh() -> None:
        for host in site.hosts:
            finished(access.ssh_argv(site, host, ["true"]))

    def ping() -> None:
        finished([*ansible, "--forks", str(len(site.hosts))])

    return {"status": status, "ssh_each": ssh, "ansible_ping": ping}


def line(runs: dict[str, list[float]], cpu: dict[str, list[float]], hosts: int) -> dict[str, Any]:
    """What is printed. A ratio above 1: `status` is sooner done."""
    middle = {way: statistics.median(taken) for way, taken in runs.items()}
    found: dict[str, Any] = {"bench": "status", "hosts": hosts, "runs": len(runs["status"]), "limit_s": LIMIT_S}
    found["processors"], found["load"] = os.cpu_count(), round(os.getloadavg()[0], 1)
    found["median_s"], found["worst_s"] = round(middle["status"], 2), round(max(runs["status"]), 2)
    found["cpu_s"] = {way: round(statistics.median(used), 2) for way, used in cpu.items()}
    for way in ("ssh_each", "ansible_ping"):
        found[f"{way}_s"], found[f"{way}_ratio"] = round(middle[way], 2), round(middle[way] / middle["status"], 2)
    return {**found, "ok": middle["status"] < LIMIT_S}


@contextmanager
def given(file: Path | None) -> Iterator[Site]:
    """The site that was asked for, or one of a lab that is gone afterwards."""
    if file:
        yield load(file.resolve())
        return
    with serving() as bench:
        yield bench.site


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.status")
    parser.add_argument("--site", type=Path, help="a site that serves; default: a lab of its own")
    with given(parser.parse_args(argv).site) as site, tempfile.TemporaryDirectory() as folder:
        done = ways(site, inventory.write(site, Path(folder)))
        runs: dict[str, list[float]] = {way: [] for way in done}
        cpu: dict[str, list[float]] = {way: [] for way in done}
        for number in range(RUNS + 1):
            for way, work in done.items():
                used, taken = spent(work)
                if number:
                    runs[way].append(taken)
                    cpu[way].append(used)
            say(f"{number}/{RUNS}: " + ", ".join(f"{way} {taken[-1]:.2f} s" for way, taken in runs.items() if taken))
    found = line(runs, cpu, len(site.hosts))
    print(json.dumps(found), flush=True)
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchError as error:
        say(str(error))
        sys.exit(2)
