"""JSON as hosts print it: one document a line, any of which may be cut, torn or something else."""

from __future__ import annotations

import json
from typing import Any


def document(text: str) -> dict[str, Any]:
    """The JSON object this text is; empty when it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def documents(lines: list[str]) -> list[dict[str, Any]]:
    """The objects among these lines, in order."""
    return [found for line in lines if (found := document(line))]


def text(value: object, limit: int = 300) -> str:
    """A string from such a document; empty when it is none."""
    return value[:limit] if isinstance(value, str) else ""


def count(value: object) -> int:
    """A number from such a document, 0 when it is none or negative."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
