"""What proves that a stack is installed: the checks of stacks.yml with a profile's versions in them."""

from __future__ import annotations

from dataclasses import replace

from dsdeploy.stacks import versions
from dsdeploy.stacks.shapes import Check, Install, Matrix, Profile


def checks(matrix: Matrix, profile: Profile, packages: Install) -> tuple[Check, ...]:
    """The checks that apply: none for what is not installed there."""
    if packages.driver is None:
        return ()
    present = {
        "driver": True, "module": True, "toolkit": packages.toolkit, "cudnn": packages.cudnn,
        "nccl": packages.nccl, "fabric": packages.driver.fabric,
    }  # fmt: skip
    words = _words(profile, packages.driver.version)
    return tuple(_filled(check, words) for name, check in matrix.verify.items() if present.get(name))


def _words(profile: Profile, driver: str) -> dict[str, str]:
    cudnn, nccl = profile.components.get("cudnn", ""), profile.components.get("nccl", "")
    return {
        "driver": driver,
        "cuda": profile.cuda,
        "cudnn": cudnn,
        "nccl": nccl,
        "cudnn_major": versions.series(cudnn, 1),
        "cudnn_number": str(number(cudnn, 1000 if versions.older(cudnn, "9") else 10_000)),
        "nccl_number": str(number(nccl, 10_000)),
    }


def number(version: str, major: int) -> int:
    """A version as the libraries' headers write it: 8.4.1 is 8401 (cuDNN 8), 9.8.0 is 90800, NCCL 2.12.12 is 21212."""
    parts = [int(part) for part in versions.series(version, 3).split(".") if part] + [0, 0, 0]
    return parts[0] * major + parts[1] * 100 + parts[2]


def _filled(check: Check, words: dict[str, str]) -> Check:
    def put(text: str) -> str:
        for name, value in words.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    return replace(check, expect=put(check.expect), command=put(check.command), library=put(check.library))
