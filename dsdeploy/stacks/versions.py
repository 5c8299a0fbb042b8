"""Versions compared number by number: 470.57.02 is older than 470.141.03, and 9 older than 10."""

from __future__ import annotations

import re

Version = tuple[int, ...]

_NUMBERS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,7}")


def parse(text: str) -> Version:
    """The leading numbers of a version: (470, 57, 2) from `470.57.02-0ubuntu1`; empty where there are none.

    Zeros at the end do not count, so that 13.0 is 13.
    """
    found = _NUMBERS.match(text.strip())
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def older(one: str, other: str) -> bool:
    """Whether the first is older than the second; never where one of them says nothing."""
    first, second = parse(one), parse(other)
    return bool(first and second) and first < second


def within(one: str, lowest: str, highest: str) -> bool:
    """Whether a version lies in a range, both ends included; an empty end is no end."""
    return not older(one, lowest) and not older(highest, one)


def same(one: str, other: str) -> bool:
    return bool(parse(one)) and parse(one) == parse(other)


def series(text: str, parts: int) -> str:
    """The first parts as written: `5.14` from `5.14.0-427.el9.x86_64`, `580` from `580.95.05`."""
    found = _NUMBERS.match(text.strip())
    return ".".join(found[0].split(".")[:parts]) if found else ""


def ended(day: str, today: str) -> bool:
    """Whether a day or a month, as text (`2026-06`), is over. A month ends with its last day."""
    return bool(day) and today[: len(day)] > day
