"""Reading one scalar of a site file: text, numbers, yes/no, durations, sizes.

Each function takes what the parser made of the operator's words and returns the
value, or raises (``wrong``) with what is wrong and how to write it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

from pydantic_core import PydanticCustomError

from dsdeploy.text import shown

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_AGE = re.compile(r"([0-9]{1,6})d")
_SIZE = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB|TiB)?")
_BYTES = {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def wrong(what: str, hint: str = "") -> NoReturn:
    """Refuse a value with our own words; ``what`` continues the sentence "<field>: …"."""
    raise PydanticCustomError("site", "{what}", {"what": what, "hint": hint})


def spelled(value: Any, meaning: str) -> str:
    """The text of a scalar as it was typed: ``version: 1.10`` stays "1.10"."""
    typed = getattr(value, "typed", value)
    if isinstance(typed, str):
        return typed
    if value is None:
        wrong(f"has no value; {meaning} is expected", "write a value, or remove the line")
    if isinstance(value, bool):
        typed = str(value).lower()
        wrong(f"{typed} is a yes/no value; {meaning} is expected", f'quote it to mean the text: "{typed}"')
    wrong(f"{kind(value)} where {meaning} is expected")


def kind(value: Any) -> str:
    """What a parsed value is, in the operator's words."""
    names = {
        dict: "a mapping",
        list: "a list",
        tuple: "a list",
        str: "text",
        bool: "true/false",
        type(None): "nothing",
    }
    for known, name in names.items():
        if isinstance(value, known):
            return name
    return f"the number {getattr(value, 'typed', value)}"


def described(value: Any) -> str:
    """A value that is not what was expected: text as it was typed, else what it is."""
    return shown(value) if isinstance(value, str) else kind(value)


def matching(pattern: str, meaning: str, limit: int) -> Callable[[Any], str]:
    compiled = re.compile(pattern, re.ASCII)

    def check(value: Any) -> str:
        text = spelled(value, meaning)
        if len(text) > limit:
            wrong(f"{len(text)} characters, the most allowed is {limit}")
        if not compiled.fullmatch(text):
            wrong(f"{shown(text)} is not {meaning}", cure(text))
        return text

    return check


def cure(text: str) -> str:
    if not text:
        return "write a value, or remove the line"
    if text.startswith("-"):
        return "it must not start with a dash"
    if ".." in text:
        return "'..' is never followed: write the path out"
    odd = sorted({char for char in text if not (char.isascii() and char.isalnum()) and char not in "._-/:"})
    return f"not allowed here: {' '.join(shown(char) for char in odd[:5])}" if odd else ""


def whole(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        if re.fullmatch(r"[0-9]+", value) and value.strip("0"):
            hint = f"write {value.lstrip('0')[:30]}, without quotes or leading zeros"
            wrong(f"{shown(value)} is text, not a whole number", hint)
        wrong(f"{shown(value)} is not a whole number", "write digits only, as in 8000")
    wrong(f"{kind(value)} where a whole number is expected", "write digits only, as in 8000")


def fraction(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    wrong(f"{described(value)} is not a number", "write a decimal, as in 0.8")


def flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    meant = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
    hint = f"write {meant.get(str(value).lower(), 'true or false')}, without quotes"
    wrong(f"{described(value)} is not true or false", hint)


def duration(value: Any) -> float:
    if type(value) is float:  # already seconds: a Site that was dumped and is read back
        return value
    text = spelled(value, "a duration such as 10s")
    found = _DURATION.fullmatch(text)
    if not found:
        hint = f"write the unit: {text[:12]}s" if re.fullmatch(r"[0-9.]+", text) else "write 500ms, 10s, 5m or 1h"
        wrong(f"{shown(text)} is not a duration", hint)
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > 86400:
        wrong(f"{shown(text)} is longer than a day", "the most allowed is 24h")
    return seconds


def age(value: Any) -> float:
    """A duration, which may also be days."""
    if isinstance(value, str) and (found := _AGE.fullmatch(value)):
        days = int(found[1])
        if days > 3650:
            wrong(f"{shown(value)} is longer than ten years", "the most allowed is 3650d")
        return days * 86400.0
    return duration(value)


def size(value: Any) -> int:
    if type(value) is int:  # already bytes: a Site that was dumped and is read back
        return value
    text = spelled(value, "a size such as 64MiB")
    found = _SIZE.fullmatch(text)
    if not found:
        unit = re.fullmatch(r"([0-9]+) ?([KMGTkmgt])(?:[bB]|ib|iB)?", text)
        hint = f"write {unit[1][:12]}{unit[2].upper()}iB (units of 1024)" if unit else "write 512KiB, 64MiB or 2GiB"
        wrong(f"{shown(text)} is not a size", hint)
    return int(found[1]) * _BYTES[found[2]]
