"""What a run's own logs say, line by line, each with the host it is about. Pure.

Ansible's events and its text both have a message as one JSON string, however many lines it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_TEXT = re.compile(r"(?:fatal|failed): \[([^\]]+)\].*?=> (\{.*)")
_WORDS = ("msg", "stderr", "stdout")


def lines(files: Mapping[str, str]) -> tuple[str, ...]:
    """In the order of the files; `<host>: <line>` where a host said it."""
    told = (_events(text) if name.endswith(".jsonl") else _text(text) for name, text in files.items())
    return tuple(line for some in told for line in some)


def _events(text: str) -> Iterator[str]:
    """Of events, what failed; of a journal, why it ended."""
    for line in text.splitlines():
        event = _object(line)
        if event.get("status") in ("failed", "unreachable"):
            yield from _split(event.get("host"), event.get("message"))
        yield from _split("", event.get("why"))


def _text(text: str) -> Iterator[str]:
    for line in text.splitlines():
        found = _TEXT.match(line)
        result = _object(found[2]) if found else {}
        if found and result:
            for name in _WORDS:
                yield from _split(found[1], result.get(name))
        else:
            yield line


def _split(host: object, words: object) -> Iterator[str]:
    if isinstance(words, str):
        yield from (f"{host}: {line}" if host else line for line in words.splitlines() if line)


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
