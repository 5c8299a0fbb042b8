"""The health of GPUs as `nvidia-smi -q` tells it, from drivers 470 to 580 and older cards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import gpu_host
from dsdeploy.facts.blocks import blocks
from dsdeploy.facts.fact import Fact, number

if TYPE_CHECKING:
    from dsdeploy.site import Site

Tree = dict[str, str]  # `ECC Errors/Volatile/DRAM Uncorrectable` -> value

_GPU = re.compile(r"GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])\s*")
_LOST = re.compile(r".*device handle for GPU ?([0-9A-Fa-f:.]{7,16}): (.{1,100})")
_CLOCKS = ("Clocks Event Reasons", "Clocks Throttle Reasons")  # the second before driver 535
# driver 560 and later say it in one word; `Drain P2P` concerns one link
_RECOVERY = frozenset({"GPU Reset", "Node Reboot", "Drain and Reset"})
# rows since Ampere, pages before
_SPARES = (
    "Remapped Rows/Correctable Error",
    "Remapped Rows/Uncorrectable Error",
    "Retired Pages/Single Bit ECC",
    "Retired Pages/Double Bit ECC",
)
# not faults: nothing to do, or what somebody set
_HARMLESS = frozenset({"Idle", "Applications Clocks Setting", "Sync Boost", "Display Clock Setting"})


@dataclass(frozen=True)
class GpuHealth:
    """Clocks in MHz, None where not told. Errors count since the driver was loaded (volatile) and ever (total).

    `remapped` counts memory rows in use as spares, `pending` asks for a reset to take more, `exhausted`
    means there was none left. `slowed` has what holds the clocks down. `fabric` is NVSwitch's state, "" without.
    """

    bus: str
    name: str = ""
    ecc: bool | None = None
    uncorrected: int = 0
    uncorrected_total: int = 0
    corrected_total: int = 0
    remapped: int = 0
    pending: bool = False
    exhausted: bool = False
    slowed: tuple[str, ...] = ()
    clock: int | None = None
    clock_max: int | None = None
    temperature: int | None = None  # degrees Celsius
    pcie: str = ""  # generation and width now, of the most: `4x16 of 5x16`
    fabric: str = ""
    reset: bool = False


@dataclass(frozen=True)
class GpuHealths:
    """`lost` has the GPUs the driver knows and cannot reach, with its words."""

    gpus: tuple[GpuHealth, ...] = ()
    lost: tuple[str, ...] = ()


class GpuHealthsFact(Fact[GpuHealths]):
    value = GpuHealths

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return gpu_host.arguments(site, host)

    def command(self) -> str:
        return "command -v nvidia-smi >/dev/null || exit 0\ntimeout 40 nvidia-smi -q 2>&1"

    def process(self, output: list[str]) -> GpuHealths:
        lost = tuple(f"{found[1]}: {found[2].strip()}" for line in output if (found := _LOST.match(line[:300])))
        _, gpus = blocks(output, _GPU.fullmatch)
        return GpuHealths(tuple(_health(block[0].split()[1].lower(), tree(block[1:])) for block in gpus), lost)


def tree(lines: list[str]) -> Tree:
    """Every line below its headings: what is indented further belongs to the line before. A line with a value
    can have lines below it (HW Slowdown)."""
    found: Tree = {}
    above: list[tuple[int, str]] = []
    for line in lines[:5000]:
        key, colon, value = line.partition(" : ")
        depth = len(key) - len(key.lstrip())
        name = key.strip()
        if not name or not depth:
            continue
        while above and above[-1][0] >= depth:
            above.pop()
        above.append((depth, name))
        if colon:
            found["/".join(part for _, part in above)] = value.strip()[:100]
    return found


def _health(bus: str, told: Tree) -> GpuHealth:
    mode = told.get("ECC Mode/Current") or told.get("Ecc Mode/Current", "")
    return GpuHealth(
        bus=bus,
        name=told.get("Product Name", ""),
        ecc=mode == "Enabled" if mode in ("Enabled", "Disabled") else None,
        uncorrected=sum(_errors(told, "Volatile", wrong=True)),
        uncorrected_total=sum(_errors(told, "Aggregate", wrong=True)),
        corrected_total=sum(_errors(told, "Aggregate", wrong=False)),
        remapped=sum(_count(told.get(key, "")) for key in _SPARES),
        pending="Yes" in (told.get("Remapped Rows/Pending"), told.get("Retired Pages/Pending Page Blacklist")),
        exhausted=told.get("Remapped Rows/Remapping Failure Occurred") == "Yes",
        slowed=tuple(dict.fromkeys(_slowed(told))),
        clock=_first(told.get("Clocks/SM", "")),
        clock_max=_first(told.get("Max Clocks/SM", "")),
        temperature=_first(told.get("Temperature/GPU Current Temp", "")),
        pcie=_pcie(told),
        fabric=_fabric(told),
        reset=told.get("GPU Reset Status/Reset Required") == "Yes" or told.get("GPU Recovery Action", "") in _RECOVERY,
    )  # fmt: skip


def _errors(told: Tree, span: str, wrong: bool) -> Iterator[int]:
    """Counts below `ECC Errors`. Volta and older list `Single Bit` and `Double Bit`, each with a total."""
    for key, value in told.items():
        parts = key.split("/")
        if parts[:2] != ["ECC Errors", span]:
            continue
        if parts[2] in ("Single Bit", "Double Bit"):
            if parts[-1] == "Total" and (parts[2] == "Double Bit") == wrong:
                yield _count(value)
        elif "orrectable" in parts[-1] and ("Uncorrectable" in parts[-1]) == wrong:
            yield _count(value)


def _slowed(told: Tree) -> Iterator[str]:
    """`HW Slowdown` is said by its causes, where they are told."""
    for heading in _CLOCKS:
        active = {key: value for key, value in told.items() if key.startswith(f"{heading}/") and value == "Active"}
        for key in active:
            name = key.split("/")[-1]
            if name not in _HARMLESS and not any(other.startswith(f"{key}/") for other in active):
                yield name


def _pcie(told: Tree) -> str:
    def side(which: str) -> str:
        generation = told.get(f"PCI/GPU Link Info/PCIe Generation/{which}", "")
        width = told.get(f"PCI/GPU Link Info/Link Width/{which}", "")
        return f"{generation}x{width.rstrip('x')}" if number(generation) and number(width.rstrip("x")) else ""

    now, most = side("Current"), side("Max")
    return f"{now} of {most}" if now and most else ""


def _fabric(told: Tree) -> str:
    state, status = told.get("Fabric/State", ""), told.get("Fabric/Status", "")
    words = [word for word in (state, status) if word not in ("", "N/A")]
    return ", ".join(words)


def _count(text: str) -> int:
    return number(text) or 0


def _first(text: str) -> int | None:
    """1980 from `1980 MHz`; None for N/A."""
    return number(text.split(" ")[0])
