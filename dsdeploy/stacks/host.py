"""What the judge is told about a host. Empty text and None mean: not known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """`compute` is the compute capability (`9.0`), "" where the driver does not tell; memory in bytes."""

    name: str
    compute: str = ""
    memory: int = 0


@dataclass(frozen=True)
class Host:
    """One host.

    Args:
        id, version: as os-release has them: `rocky`, `9.4`.
        driver: the installed driver's version; None where there is none.
        loaded: the version of the kernel module in memory, if another tool than nvidia-smi told it.
        modules: `open` or `proprietary`, which kernel modules are loaded.
        fabric_manager: its version; "" where it is not installed, None where nobody looked.
        secure_boot: None where the firmware could not be asked.
        devices: the GPUs' device numbers on the PCI bus, known before any driver is there.
    """

    id: str
    version: str
    kernel: str = ""
    glibc: str = ""
    python: str = ""
    architecture: str = "x86_64"
    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    loaded: str = ""
    modules: str = ""
    nvswitch: bool | None = None
    fabric_manager: str | None = None
    secure_boot: bool | None = None
    devices: tuple[int, ...] = ()
