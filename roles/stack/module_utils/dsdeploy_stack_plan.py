"""What an order of packages leaves to do on a host, given what is installed there. Pure.

Standard library, Python >= 3.8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Dict, Iterable, List, Mapping, Sequence

Packages = Dict[str, str]  # name -> version as installed, without epoch and architecture
Step = List[Dict[str, str]]

# 470.57.02, 580.178.04: three digits, then one or two parts. CUDA's own packages have 12.8.1 and are not meant.
_DRIVER = re.compile(r"[3-9][0-9]{2}\.[0-9]{1,3}(?:\.[0-9]{1,3})?(?![0-9.])")
_MODULES = re.compile(r"dkms|kernel-open|kernel-source|^nvidia-open|^cuda-drivers")


@dataclass(frozen=True)
class Work:
    """`missing` are the packages of each step that are not there at their version; the rest are names to remove."""

    missing: List[Step] = field(default_factory=list)
    unwanted: List[str] = field(default_factory=list)
    strays: List[str] = field(default_factory=list)

    @property
    def any(self) -> bool:
        return bool(any(self.missing) or self.unwanted or self.strays)

    def sentences(self) -> List[str]:
        """What an operator reads, one line a package."""
        lines = ["install %s %s" % (one["name"], one["version"]) for step in self.missing for one in step]
        lines += ["remove %s: it pulls a driver of its own choice" % name for name in self.unwanted]
        return lines + ["move or remove %s: it is of another driver" % name for name in self.strays]


def bare(version: str) -> str:
    """Without the epoch."""
    return version.split(":", 1)[-1]


def matches(installed: str, wanted: str) -> bool:
    """Whether an installed version is the ordered one: `580.178.04-*` is 580.178.04-1ubuntu1, not 580.178.040-1."""
    version = bare(installed)
    if not wanted.endswith("*") or wanted.endswith("-*") or wanted == "*":
        return fnmatchcase(version, wanted)
    # rpm orders end in `580.178.04*`, where the star may stand for the release only
    return fnmatchcase(version, wanted) and not re.match(r"[0-9]", version[len(wanted) - 1 :])


def among(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def driver_version(version: str) -> str:
    """The driver's version in a package's, "" where it is none: 580.178.04 from `3:580.178.04-1.el9`."""
    found = _DRIVER.match(bare(version))
    return found.group() if found else ""


def strays(installed: Mapping[str, str], driver: str, family: Sequence[str], foreign: Sequence[str]) -> List[str]:
    """Installed parts of a driver that is not the ordered one."""
    return sorted(
        name
        for name, version in installed.items()
        if among(name, family) and not among(name, foreign) and driver_version(version) not in ("", driver)
    )


def movable(name: str, flavour: str) -> bool:
    """Whether a part of another driver may be moved to the ordered version: all may, but kernel modules and
    metapackages of the other flavour, which exclude ours."""
    return not _MODULES.search(name) or ("open" in name) == (flavour == "open")


def driver_step(steps: Sequence[Step]) -> int:
    """Which of the steps brings the driver; the first where none does."""
    return next((n for n, step in enumerate(steps) if any(driver_version(one["version"]) for one in step)), 0)


def work(
    installed: Mapping[str, str],
    steps: Sequence[Step],
    unwanted: Sequence[str],
    driver: str,
    family: Sequence[str],
    foreign: Sequence[str],
) -> Work:
    """What is left to do. A package that a step brings is never removed: it is moved to its version."""
    ordered = {one["name"] for step in steps for one in step}
    missing = [
        [one for one in step if one["name"] not in installed or not matches(installed[one["name"]], one["version"])]
        for step in steps
    ]
    drag = sorted(name for name in installed if name not in ordered and among(name, unwanted))
    left = [name for name in strays(installed, driver, family, foreign) if name not in ordered and name not in drag]
    return Work([step for step in missing if step], drag, left)


def held(installed: Mapping[str, str], patterns: Sequence[str], foreign: Sequence[str]) -> List[str]:
    """Installed names that no upgrade may move."""
    return sorted(name for name in installed if among(name, patterns) and not among(name, foreign))
