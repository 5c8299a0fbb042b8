"""Libraries an operator brings along, against a CUDA version: cuDNN, TensorRT, torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsdeploy.stacks import versions
from dsdeploy.stacks.data import matrix as shipped
from dsdeploy.stacks.shapes import Matrix
from dsdeploy.stacks.verdict import Verdict


def pair(library: str, version: str, cuda: str, matrix: Matrix | None = None) -> Verdict:
    """Whether a version of a library was released for a CUDA version.

    A warning where it was not: it may still be installed and work, but nobody tested it.
    """
    table = (matrix or shipped()).pairs.get(library, {})
    entry = _entry(table, version)
    if entry is None:
        return Verdict("warn", library, f"{library} {version} is not in the matrix")
    listed = [str(getattr(one, "typed", one)) for one in entry["cuda"]]
    if any(versions.same(one, cuda) for one in listed):
        packaged = f", packaged as {entry['packaged']}" if "packaged" in entry else ""
        return Verdict("ok", library, f"{library} {version} lists CUDA {cuda}{packaged}")
    span = listed[0] if len(listed) == 1 else f"{listed[0]} to {listed[-1]}"
    packaged = f" and is packaged as {entry['packaged']}" if "packaged" in entry else ""
    why = f"{library} {version} lists CUDA {span}{packaged}, not {cuda}"
    return Verdict("warn", library, why, _nearest(library, table, cuda))


def _entry(table: Mapping[str, Mapping[str, Any]], version: str) -> Mapping[str, Any] | None:
    """By the text first (torch's +cu116 is part of it), then by the numbers (8.2.4.15 is 8.2.4)."""
    if version in table:
        return table[version]
    numbers = versions.parse(version)
    return next((one for key, one in table.items() if "+" not in version and numbers[:3] == versions.parse(key)), None)


def _nearest(library: str, table: Mapping[str, Mapping[str, Any]], cuda: str) -> str:
    fitting = [key for key, one in table.items() if cuda in [str(getattr(v, "typed", v)) for v in one["cuda"]]]
    return f"{library} {min(fitting, key=versions.parse)}" if fitting else ""
