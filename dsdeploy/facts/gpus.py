"""NVIDIA GPUs, as the GPU report lists them where it is installed, else as nvidia-smi does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dsdeploy.facts.fact import Fact, number
from dsdeploy.facts.gpu_report import PROGRAM
from dsdeploy.facts.lines import count, documents, text
from dsdeploy.facts.python import PYTHON
from dsdeploy.facts.script import PART_BYTES

_FIELDS = "index,uuid,memory.total,memory.used,driver_version"
_MIB = 1024 * 1024
_COMPUTE = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}")


@dataclass(frozen=True)
class Gpu:
    """Memory in bytes; `compute` is the compute capability (`9.0`), "" where the driver does not tell it."""

    index: int
    name: str
    uuid: str
    memory: int
    used: int
    driver: str
    compute: str = ""


class Gpus(tuple[Gpu, ...]):
    """In nvidia-smi's order; empty without a driver."""


class GpusFact(Fact[Gpus]):
    """Drivers before 510 do not know compute_cap and refuse the whole question: it is put again without.

    A driver that hangs is not asked twice, by whichever of the two. A report that is no whole document, or larger than
    what is read of a fact, does not count: nvidia-smi is asked then.
    """

    value = Gpus

    def command(self) -> str:
        ask = "timeout 15 nvidia-smi --format=csv,noheader,nounits --query-gpu"
        # the name last: it may hold commas
        report = f"timeout -k 1 20 {PYTHON} -B {PROGRAM} report --last 0"
        whole = f"[ ${{#said}} -lt {PART_BYTES} ] && case $said in '{{'*'}}') printf '%s\\n' \"$said\"; exit 0;; esac"
        return (
            f"if [ -f {PROGRAM} ]; then said=$({report})\ncase $? in 0) {whole};; 124|137) exit 0;; esac; fi\n"
            "command -v nvidia-smi >/dev/null || exit 0\n"
            f"{ask}={_FIELDS},compute_cap,name || {{ [ $? -ne 124 ] && {ask}={_FIELDS},name; }}"
        )

    def process(self, output: list[str]) -> Gpus:
        said: dict[str, Any] = next(iter(documents(output)), {})
        if isinstance(said.get("gpus"), list):
            driver = text(said.get("driver"))
            return Gpus(_told_by_report(one, driver) for one in said["gpus"] if _answers(one))
        return Gpus(gpu for line in output if (gpu := _gpu(line)))


def _answers(one: object) -> bool:
    """A GPU that was lost or could not be opened is no GPU: the report's problems tell of it."""
    return isinstance(one, dict) and bool(one.get("uuid")) and one.get("lost") is False


def _told_by_report(one: dict[str, Any], driver: str) -> Gpu:
    memory = one["memory"] if isinstance(one.get("memory"), dict) else {}
    compute = text(one.get("compute"))
    return Gpu(
        index=count(one.get("index")),
        name=text(one.get("name")),
        uuid=text(one["uuid"]),
        memory=count(memory.get("total")),
        used=count(memory.get("used")),
        driver=driver,
        compute=compute if _COMPUTE.fullmatch(compute) else "",
    )


def _gpu(line: str) -> Gpu | None:
    cells = [cell.strip() for cell in line.split(",", 5)]
    if len(cells) < 6 or number(cells[0]) is None:
        return None
    index, uuid, memory, used, driver, rest = cells
    compute, name = _told(rest)
    return Gpu(
        index=number(index) or 0,
        name=name,
        uuid=uuid,
        memory=(number(memory) or 0) * _MIB,
        used=(number(used) or 0) * _MIB,
        driver=driver,
        compute=compute,
    )


def _told(rest: str) -> tuple[str, str]:
    """Compute capability and name, or the name alone from an older driver."""
    first, comma, name = (part.strip() for part in rest.partition(","))
    if comma and (_COMPUTE.fullmatch(first) or first == "[N/A]"):
        return first if _COMPUTE.fullmatch(first) else "", name
    return "", rest
