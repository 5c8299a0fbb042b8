"""Values as YAML that Ansible reads and never evaluates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def inert(value: Any) -> str:
    """A value as one line of YAML (JSON, and ``!unsafe`` before each string Ansible would template).

    Raises:
        TypeError: the value is not made of mappings, lists, text, numbers, true/false and None.
    """
    if isinstance(value, str):
        return ("!unsafe " if "{" in value else "") + _quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        digits, exponent, power = repr(value).partition("e")
        # YAML 1.1 takes 1e-07 for text, 1.0e-07 for a number
        return digits + (".0" if exponent and "." not in digits else "") + exponent + power
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{inert(str(key))}: {inert(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(inert(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} cannot stand in an inventory")


def _quoted(text: str) -> str:
    """A double-quoted YAML string of printable ASCII; JSON's surrogate pairs are not YAML."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if " " <= char <= "~":
        return char
    code = ord(char)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"
