"""The benches' own lab: another name and subnet than the operator's and the tests'."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsdeploy.lab import access
from dsdeploy.site import Site, load

ROOT = Path(__file__).resolve().parents[2]
NETWORK = "10.90.4."
NAME = "bench"
ROUTER = "python3 /usr/local/lib/dsdeploy/router/dsdeploy_router.py"
POLL_S = 0.3


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class BenchError(Exception):
    """Something that has nothing to do with the measurement is wrong: there is no result."""


@dataclass(frozen=True)
class Bench:
    """Machines with a serving site, driven by the command line and by ssh."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "site.yml"

    @property
    def site(self) -> Site:
        return load(self.file)

    @property
    def vip(self) -> str:
        return str(self.site.router.vip)

    def run(self, *words: str, codes: tuple[int, ...] = (0,)) -> str:
        """`dsdeploy …`; its stdout. Raises BenchError for another exit code."""
        argv = [sys.executable, "-m", "dsdeploy", *words]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode not in codes:
            raise BenchError(f"dsdeploy {shlex.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def ssh(self, host: str, command: str, check: bool = True) -> str:
        """A shell line on a machine; its stdout."""
        argv = access.ssh_argv(self.site, host, [command])
        argv[1:1] = ["-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5"]
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=False)
        if check and done.returncode:
            raise BenchError(f"{host}$ {command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def address(self, host: str) -> str:
        return self.site.hosts[host].address

    def routing(self, router: str) -> dict[str, Any]:
        """What a router says of its servers; {} while it does not answer."""
        try:
            shown = json.loads(self.ssh(router, f"{ROUTER} show", check=False))
        except (ValueError, subprocess.TimeoutExpired):
            return {}
        return shown if isinstance(shown, dict) and "servers" in shown else {}

    def holders(self) -> list[str]:
        """The routers that have the virtual address; one, when all is well."""
        question = f"ip -o -4 addr show to {self.vip}/32"
        return [name for name in self.site.with_role("router") if self.ssh(name, question, check=False).strip()]

    def moves(self, since: float) -> int:
        """How often the virtual address came to a router since then (seconds since 1970)."""
        question = f"journalctl -u keepalived --since @{since:.0f} --no-pager | grep -c 'Entering MASTER STATE'"
        return sum(int(self.ssh(name, question, check=False) or 0) for name in self.site.with_role("router"))

    def active(self) -> dict[str, str]:
        """Engine host -> the colour that answers."""
        return dict(self.routing(self.site.with_role("router")[0])["active"])

    def ill(self) -> str:
        """What is not as it should be; "" when the site is whole."""
        for router in self.site.with_role("router"):
            shown = self.routing(router)
            if not shown:
                return f"{router}: HAProxy does not answer"
            ready = [server for server in shown["servers"] if server["state"] == "ready"]
            if {server["host"] for server in ready} != set(self.site.with_role("engine")):
                return f"{router}: in rotation are {[server['name'] for server in ready]}"
            if down := [server["name"] for server in ready if not server["up"]]:
                return f"{router}: down are {down}"
        holders = self.holders()
        return "" if len(holders) == 1 else f"the virtual address is on {holders}"

    def whole(self, seconds: float = 90) -> None:
        """Wait until everything answers. Raises BenchError that says what does not."""
        until(lambda: not self.ill(), seconds, self.ill)


def until(true: Callable[[], bool], seconds: float, why: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise BenchError(f"not after {seconds:.0f} s: {why()}")
        time.sleep(POLL_S)


@contextmanager
def serving(soak: str = "1s", failover: str = "500ms") -> Iterator[Bench]:
    """A lab that serves version v1; gone afterwards, unless BENCH_FOLDER names where it is to stay."""
    if os.geteuid():
        raise BenchError("the lab's machines and their network cables need root: sudo make bench-…")
    kept = os.environ.get("BENCH_FOLDER")
    folder = Path(kept).resolve() if kept else Path(tempfile.mkdtemp(prefix="dsdeploy-bench-"))
    folder.mkdir(exist_ok=True)
    text = (ROOT / "inventory" / "lab" / "site.yml").read_text()
    changes = (
        ("site: lab", f"site: {NAME}"), ("10.90.0.", NETWORK), ("soak: 10s", f"soak: {soak}"),
        ("router: {port: 8000,", f"router: {{port: 8000, failover: {failover},"),
    )  # fmt: skip
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "site.yml").write_text(text)
    bench = Bench(folder)
    try:
        say("lab up")
        bench.run("lab", "up", "--site", str(bench.file))
        say("dsdeploy up")
        bench.run("up", str(bench.file), "--yes")
        bench.whole()
        yield bench
    finally:
        if not kept:
            say("lab down")
            bench.run("lab", "down", "--site", str(bench.file))
            shutil.rmtree(folder, ignore_errors=True)
