"""What the GPU report on a host says: see roles/health/files/gpu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import gpu_host
from dsdeploy.facts.fact import Fact
from dsdeploy.facts.lines import count, documents, text
from dsdeploy.facts.python import PYTHON
from dsdeploy.health import settings

if TYPE_CHECKING:
    from dsdeploy.site import Site

PROGRAM = "/usr/local/lib/dsdeploy/gpu/gpu_report.py"
SECONDS = 30


@dataclass(frozen=True)
class GpuProblem:
    """`level` bad or warn; `gpu` its number, None for the host as a whole."""

    level: str
    gpu: int | None
    what: str
    hint: str
    fatal: bool = False  # an engine on it would not answer, however often it is restarted

    @property
    def sentence(self) -> str:
        return f"GPU {self.gpu}: {self.what}" if self.gpu is not None else self.what


@dataclass(frozen=True)
class GpuReport:
    """`installed` False: no program there, nothing known. `xids` counts those of this boot, by class."""

    installed: bool = False
    driver: str = ""
    cuda: str = ""
    count: int = 0
    on_bus: int = 0
    problems: tuple[GpuProblem, ...] = ()
    xids: tuple[tuple[str, int], ...] = ()


class GpuReportFact(Fact[GpuReport]):
    value = GpuReport

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        found = gpu_host.arguments(site, host)
        expected = site.health.gpus if site.health else None
        return (
            found if found is None else {"least": settings.least(site)} if expected is None else {"expected": expected}
        )

    def command(self, expected: int | None = None, least: int = 0) -> str:
        words = f"--expected {expected}" if expected is not None else f"--least {least}"
        report = f"timeout -k 1 {SECONDS} {PYTHON} -B {PROGRAM} report"
        return (
            f"[ -f {PROGRAM} ] || exit 0; echo installed\n"
            # a program that an earlier `up` put there may not know the word
            f'{report} {words} 2>/dev/null || {{ [ $? -eq 2 ] && {report}; }}; echo; echo "end $?"'
        )

    def process(self, output: list[str]) -> GpuReport:
        if not output or output[0] != "installed":
            return GpuReport()
        said = next(iter(documents(output)), {})
        found = said.get("problems")
        if not isinstance(found, list):
            why = f"the GPU report gave nothing within {SECONDS} s: the driver may hang"
            return GpuReport(True, problems=(GpuProblem("bad", None, why, "dmesg | grep -e NVRM -e Xid"),))
        problems = tuple(_problem(one) for one in found[:100] if isinstance(one, dict))
        bus, xids = said.get("on_bus"), said.get("xids")
        counts = xids.get("counts") if isinstance(xids, dict) else None
        return GpuReport(
            installed=True,
            driver=text(said.get("driver")),
            cuda=text(said.get("cuda")),
            count=count(said.get("count")),
            on_bus=len(bus) if isinstance(bus, list) else 0,
            problems=problems,
            xids=tuple(sorted((str(k)[:40], count(v)) for k, v in counts.items() if count(v)))
            if isinstance(counts, dict)
            else (),
        )


def _problem(one: dict[str, Any]) -> GpuProblem:
    level, gpu = text(one.get("level")), one.get("gpu")
    number = gpu if isinstance(gpu, int) and not isinstance(gpu, bool) else None
    level = level if level in ("bad", "warn") else "bad"
    return GpuProblem(level, number, text(one.get("what")), text(one.get("hint")), one.get("fatal") is True)
