"""Many facts in one command: the script a host is sent, and its output taken apart again.

One round trip and one remote shell instead of one for each fact. Every part runs under its own time
limit, prints into a bounded pipe, and ends with a mark only this read knows. A host that stops half
way, or is cut off, still gives the parts it finished.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

PART_BYTES = 1 << 20
PART_SECONDS = 50

_HEAD = "LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH; cd /"


def build(commands: Sequence[str], mark: str) -> str:
    """One script out of commands; `mark` is unguessable, so that no output can pass for an end."""
    parts = [f"printf '{mark} start\\n'", _HEAD]
    for number, command in enumerate(commands):
        guarded = shlex.join(["timeout", "-k", "1", str(PART_SECONDS), "sh", "-c", command])
        parts.append(f"{guarded} </dev/null 2>/dev/null | head -c {PART_BYTES}")
        parts.append(f"printf '\\n{mark} {number}\\n'")
    return "\n".join(parts)


def split(output: bytes, mark: str, count: int) -> list[list[str] | None]:
    """Lines of each part in order; None for the parts that never came to their end."""
    parts: list[list[str] | None] = [None] * count
    lines: list[str] = []
    for raw in output.split(b"\n"):
        line = clean(raw)
        if line.startswith(mark):
            number = line[len(mark) :].strip()
            if number.isascii() and number.isdecimal() and int(number[:9]) < count:
                # the mark stands on a line of its own, for which a line end was added
                parts[int(number)] = lines[:-1] if lines and not lines[-1] else lines
            lines = []
        else:
            lines.append(line)
    return parts


def clean(raw: bytes) -> str:
    """Text fit for a terminal: no control or direction characters, undecodable bytes replaced."""
    text = raw.decode("utf-8", errors="replace")
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\t" else "" for letter in text)
