"""TensorRT as its own program names itself; read only where Triton runs without a container."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site

_BANNER = re.compile(r"\[TensorRT v([0-9]+)\]")


@dataclass(frozen=True)
class TensorRt:
    """`version` as trtexec prints it: 8601 is 8.6.1, 101401 is 10.14.1; "" without trtexec. `triton`: its server."""

    version: str
    triton: bool


class TensorRtFact(Fact[TensorRt]):
    value = TensorRt

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        engine = site.engine.runtime == "triton" and "engine" in site.hosts[host].roles
        return {} if engine and not site.engine.image else None

    def command(self) -> str:
        return (
            "t=/usr/src/tensorrt/bin/trtexec; [ -x $t ] || t=$(command -v trtexec)\n"
            '[ -n "$t" ] && timeout 20 "$t" --help 2>/dev/null | head -n 1\n'
            "[ -x /opt/tritonserver/bin/tritonserver ] && echo triton || true"
        )

    def process(self, output: list[str]) -> TensorRt:
        found = _BANNER.search("\n".join(output))
        return TensorRt(found[1] if found else "", "triton" in [line.strip() for line in output])
