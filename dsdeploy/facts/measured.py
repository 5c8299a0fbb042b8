"""What Prometheus on a collecting host has worked out of the whole site: requests, tokens, GPUs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dsdeploy.facts.fact import Fact
from dsdeploy.facts.lines import documents

if TYPE_CHECKING:
    from dsdeploy.site import Site

PASSWORD = "/etc/dsdeploy/monitor/password"
RECORDS = {  # a record of the monitor role -> what status calls it
    "dsdeploy:requests:rate": "requests_per_second",
    "dsdeploy:tokens:rate": "tokens_per_second",
    "dsdeploy:gpu_utilization:ratio": "gpu_used",
}
_PATH = "/api/v1/query?query=" + quote(f'{{__name__=~"{"|".join(RECORDS)}"}}')
_SECONDS = 2


class Measured(dict[str, dict[str, float]]):
    """Host of the site -> what of it is known, by the names of RECORDS; GPUs of one host are averaged."""


class MeasuredFact(Fact[Measured]):
    value = Measured

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        if site.monitor is None or "monitor" not in site.hosts[host].roles:
            return None
        address = site.hosts[host].address if site.monitor.listen else "127.0.0.1"
        return {"address": address, "port": site.monitor.prometheus_port}

    def command(self, address: str, port: int) -> str:
        # the password goes through pipes only: what stands on a command line is everybody's to read
        ask = f"timeout -k 1 {_SECONDS} bash -c 'exec 3<>\"/dev/tcp/$0/$1\" && cat >&3 && cat <&3' {address} {port}"
        head = r"GET %s HTTP/1.0\r\nHost: prometheus\r\nAuthorization: Basic %s\r\nConnection: close\r\n\r\n"
        return f"""
[ -r {PASSWORD} ] || exit 0
key=$({{ printf dsdeploy:; cat {PASSWORD}; }} | base64 -w 0)
printf '{head}' '{_PATH}' "$key" | {ask} 2>/dev/null | head -c 4194304; echo
"""

    def process(self, output: list[str]) -> Measured:
        sums: dict[tuple[str, str], list[float]] = {}
        for host, name, value in _samples(next(iter(documents(output)), {})):
            sums.setdefault((host, name), []).append(value)
        found = Measured()
        for (host, name), values in sums.items():
            found.setdefault(host, {})[name] = sum(values) / len(values)
        return found


def _samples(answer: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Host, name, value of each sample that is one of ours and a number."""
    data = answer.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    for one in result[:10000] if isinstance(result, list) else ():
        try:
            name, host = RECORDS[one["metric"]["__name__"]], one["metric"]["host"]
            value = float(one["value"][1])
        except (KeyError, IndexError, TypeError, ValueError):
            continue
        if isinstance(host, str) and math.isfinite(value):
            yield host, name, value
