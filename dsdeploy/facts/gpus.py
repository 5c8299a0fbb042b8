"""NVIDIA GPUs, as nvidia-smi lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dsdeploy.facts.fact import Fact, number

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

    A driver that hangs is not asked twice.
    """

    value = Gpus

    def command(self) -> str:
        ask = "timeout 15 nvidia-smi --format=csv,noheader,nounits --query-gpu"
        # the name last: it may hold commas
        return (
            "command -v nvidia-smi >/dev/null || exit 0\n"
            f"{ask}={_FIELDS},compute_cap,name || {{ [ $? -ne 124 ] && {ask}={_FIELDS},name; }}"
        )

    def process(self, output: list[str]) -> Gpus:
        return Gpus(gpu for line in output if (gpu := _gpu(line)))


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
