"""Numbers that remember how they were typed, and what an unquoted scalar means.

YAML 1.2: only ``true`` and ``false`` are booleans; ``no``, ``0755``, ``22:22``,
``1e3`` and dates stay the text the operator wrote.
"""

from __future__ import annotations

import re
from typing import Any

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,29})")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,29})\.[0-9]{1,30}")
_CONSTANTS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


class Whole(int):
    """A whole number that remembers how it was typed."""

    typed: str


class Real(float):
    """A decimal number that remembers how it was typed."""

    typed: str


def plain(typed: str) -> Any:
    """What an unquoted scalar means in YAML 1.2; text where it means nothing else."""
    if typed in _CONSTANTS:
        return _CONSTANTS[typed]
    number: Whole | Real
    if _INT.fullmatch(typed):
        number = Whole(typed)
    elif _FLOAT.fullmatch(typed):
        number = Real(typed)
    else:
        return typed
    number.typed = typed
    return number
