"""NVIDIA GPUs on the PCI bus, whether a driver answers for them or not."""

from __future__ import annotations

from pathlib import Path
from typing import List

_NVIDIA = "0x10de"
_DISPLAY = ("0x0300", "0x0302")  # VGA and 3D controllers; not sound, USB or NVSwitch bridges
_AWAY = ("vfio-pci", "pci-stub")  # given to a virtual machine


def gpus(sys: Path) -> List[str]:
    """Addresses, `0000:17:00.0`, in order. Read from sysfs: lspci need not be installed."""
    found = []
    for device in sorted((sys / "bus" / "pci" / "devices").glob("*")):
        kind = _read(device / "class")
        driver = device / "driver"
        away = driver.is_symlink() and driver.resolve().name in _AWAY
        if _read(device / "vendor") == _NVIDIA and kind.startswith(_DISPLAY) and not away:
            found.append(device.name)
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
