"""Text that comes in blocks: a line that begins one, and the lines that belong to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def blocks(lines: Iterable[str], begins: Callable[[str], object]) -> tuple[list[str], list[list[str]]]:
    """What stands before the first block, and each block with the line that begins it."""
    before: list[str] = []
    found: list[list[str]] = []
    for line in lines:
        if begins(line):
            found.append([line])
        else:
            (found[-1] if found else before).append(line)
    return before, found
