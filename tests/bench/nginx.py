"""The same switch by nginx: another upstream in its file, and `nginx -s reload`."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from statistics import median
from typing import Any

from ..load import judge
from .lab import Bench, say
from .traffic import flowing
from .windows import overstay

PORT = 8090
FOLDER = "/run/bench-nginx"
PAUSE_S = 2
OTHER = {"blue": "green", "green": "blue"}
INSTALL = (
    "command -v nginx >/dev/null || { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y "
    "--no-install-recommends nginx-light && systemctl disable --now nginx; } >/dev/null; mkdir -p " + FOLDER
)
CONFIG = """\
worker_processes auto;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    upstream engines {{ {servers} }}
    server {{
        listen {address}:{port};
        location / {{
            proxy_pass http://engines;
            proxy_set_header Host $host;
            add_header x-dsdeploy-release {colour} always;
        }}
    }}
}}
"""
# prints, for each reload: the colour it brings in, when it was called, when it returned
RELOADS = """\
cd {folder}
for number in $(seq {times}); do
  if [ $((number % 2)) = 1 ]; then colour=green; else colour=blue; fi
  cp $colour.conf nginx.conf
  called=$(date +%s.%N)
  nginx -c {folder}/nginx.conf -s reload || exit 1
  echo $colour $called $(date +%s.%N)
  sleep {pause}
done
"""


def measure(bench: Bench, rate: float, times: int) -> dict[str, Any]:
    """So many reloads between two sets of engines, under the same kind of load."""
    router = bench.site.with_role("router")[-1]
    idle = {host: OTHER[colour] for host, colour in bench.active().items()}
    _order(bench, "start", idle)  # returns when the engines are ready
    bench.ssh(router, INSTALL)
    for colour in ("blue", "green"):
        config = _config(bench, router, colour)
        bench.ssh(router, f"cat > {FOLDER}/{colour}.conf <<'END'\n{config}END\nnginx -q -t -c {FOLDER}/{colour}.conf")
    run = f"systemd-run --quiet --collect --unit bench-nginx nginx -c {FOLDER}/nginx.conf -g 'daemon off;'"
    bench.ssh(router, f"cp {FOLDER}/blue.conf {FOLDER}/nginx.conf && {run}")
    out = bench.folder / "nginx.jsonl"
    try:
        say(f"nginx: {times} reloads")
        with flowing(out, f"{bench.address(router)}:{PORT}", rate, bench.site.model.name) as traffic:
            printed = bench.ssh(router, RELOADS.format(folder=FOLDER, times=times, pause=PAUSE_S))
        history = traffic.history()
    finally:
        bench.ssh(router, "systemctl stop bench-nginx", check=False)
        _order(bench, "stop", idle)
    said = [line.split() for line in printed.splitlines()]
    moves = [(colour, float(called), float(returned)) for colour, called, returned in said]
    calls = [called for _, called, _ in moves[1:]] + [inf]
    stays = [
        1000 * overstay(history, OTHER[colour], returned, until)
        for (colour, _, returned), until in zip(moves, calls, strict=True)
    ]
    return {
        "switches": len(moves),
        "old_answered_after_ms": round(max(stays), 1),
        "old_answered_after_median_ms": round(median(stays), 1),
        **judge.summary(history),
    }


def _config(bench: Bench, router: str, colour: str) -> str:
    port = getattr(bench.site.engine.ports, colour)
    servers = " ".join(f"server {bench.address(host)}:{port};" for host in bench.site.with_role("engine"))
    return CONFIG.format(folder=FOLDER, servers=servers, address=bench.address(router), port=PORT, colour=colour)


def _order(bench: Bench, verb: str, engines: Mapping[str, str]) -> None:
    for host, colour in engines.items():
        bench.ssh(host, f"systemctl {verb} dsdeploy-engine@{colour}")
