"""XIDs of NVIDIA's driver, what each means and asks for: the table that hosts have too, with the GPU report."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from dsdeploy import paths

FILE = paths.ROLES / "health" / "files" / "gpu" / "gpu_xids.json"
HARDWARE = ("drain", "reset", "reboot", "vendor")  # classes that a program alone does not bring about
_CHANGED = re.compile(r"recovery action changed from \S+ .*\bto (0x[0-9A-Fa-f]+)")


@dataclass(frozen=True)
class Meaning:
    """`kind` is a class of the table; `what` is empty for a code that it does not have."""

    kind: str
    what: str
    act: str

    @property
    def hardware(self) -> bool:
        return self.kind in HARDWARE


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def meaning(code: int, text: str = "") -> Meaning:
    """Of a code, and of the driver's own words with it: where they say what it wants, that counts."""
    table = _table()
    row = table["xids"].get(str(code), {})
    asked = _CHANGED.search(text)
    kind = table["recovery"].get(asked[1].lower()) if asked else None
    kind = kind or row.get("class", "unknown")
    return Meaning(kind, row.get("what", ""), row.get("act") or table["classes"][kind])


def codes() -> dict[str, list[int]]:
    """Class -> its codes, for alerts on what gives a number alone."""
    found: dict[str, list[int]] = {kind: [] for kind in _table()["classes"]}
    for code, row in _table()["xids"].items():
        found[row["class"]].append(int(code))
    return found
