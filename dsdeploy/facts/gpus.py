"""NVIDIA GPUs, as nvidia-smi lists them."""

from __future__ import annotations

from dataclasses import dataclass

from dsdeploy.facts.fact import Fact, number

_FIELDS = "index,uuid,memory.total,memory.used,driver_version,name"  # the name last: it may hold commas
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Gpu:
    """Memory in bytes."""

    index: int
    name: str
    uuid: str
    memory: int
    used: int
    driver: str


class Gpus(tuple[Gpu, ...]):
    """In nvidia-smi's order; empty without a driver."""


class GpusFact(Fact[Gpus]):
    value = Gpus

    def command(self) -> str:
        query = f"nvidia-smi --query-gpu={_FIELDS} --format=csv,noheader,nounits"
        return f"command -v nvidia-smi >/dev/null && timeout 15 {query}"

    def process(self, output: list[str]) -> Gpus:
        return Gpus(gpu for line in output if (gpu := _gpu(line)))


def _gpu(line: str) -> Gpu | None:
    cells = [cell.strip() for cell in line.split(",", 5)]
    if len(cells) < 6 or number(cells[0]) is None:
        return None
    index, uuid, memory, used, driver, name = cells
    return Gpu(
        index=number(index) or 0,
        name=name,
        uuid=uuid,
        memory=(number(memory) or 0) * _MIB,
        used=(number(used) or 0) * _MIB,
        driver=driver,
    )
