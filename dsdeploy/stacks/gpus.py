"""What a GPU's name says about it."""

from __future__ import annotations

import re
from functools import cache

from dsdeploy.stacks import versions
from dsdeploy.stacks.host import Gpu
from dsdeploy.stacks.shapes import Architecture, GpuModel, Matrix


def model(matrix: Matrix, name: str) -> GpuModel | None:
    """The entry whose words stand in the name as words; the longest one of several."""
    found = [key for key in matrix.gpus if _words(key).search(name)]
    return matrix.gpus[max(found, key=len)] if found else None


def compute(matrix: Matrix, gpu: Gpu) -> str:
    """What the driver told, else what the name says, else ""."""
    if versions.parse(gpu.compute):
        return gpu.compute
    entry = model(matrix, gpu.name)
    return entry.compute if entry else ""


def architecture(matrix: Matrix, gpu: Gpu) -> Architecture | None:
    """The generation a GPU belongs to; None where its compute capability is unknown."""
    told = compute(matrix, gpu)
    among = matrix.architectures if told else ()
    return next((one for one in among if versions.within(told, one.compute.lowest, one.compute.highest)), None)


def datacentre(matrix: Matrix, gpu: Gpu) -> bool:
    entry = model(matrix, gpu.name)
    return bool(entry and entry.datacentre)


@cache
def _words(key: str) -> re.Pattern[str]:
    """`H20` is in `NVIDIA H20-3e` and not in `NVIDIA H200`; `L4` is not in `L40S`."""
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(key)}(?![A-Za-z0-9])", re.IGNORECASE)
