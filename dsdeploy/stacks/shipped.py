"""The shipped YAML files, read with the site file's own reader, and their parts with the type they must have.

A fault in them is a fault of ours, not of the operator: it is a ValueError, with the place in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsdeploy import document

FOLDER = Path(__file__).resolve().parent.parent


class Part:
    """A mapping of the file that knows its address and which of its keys were asked for."""

    def __init__(self, found: document.Document, address: document.Address = ()) -> None:
        self._document, self._address = found, address
        self._data = found.typed(address)
        self._asked: set[str] = set()
        if self._data is None:
            self._data = {}
        if not isinstance(self._data, dict):
            raise ValueError(f"{found.where(address)}: a mapping is wanted")

    def where(self, key: str = "") -> str:
        return self._document.where((*self._address, key) if key else self._address)

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def parts(self, key: str) -> Iterator[tuple[str, Part]]:
        """The mappings below a key, with their names."""
        self._asked.add(key)
        for name in self._data.get(key) or {}:
            yield name, Part(self._document, (*self._address, key, name))

    def all(self) -> Iterator[tuple[str, Part]]:
        """Every key with the mapping at it."""
        for name in self._data:
            yield name, self.part(name)

    def rows(self, key: str) -> Iterator[Part]:
        """The mappings of a list."""
        self._asked.add(key)
        for number in range(len(self._data.get(key) or [])):
            yield Part(self._document, (*self._address, key, number))

    def part(self, key: str) -> Part:
        """The mapping at a key, an empty one where there is none."""
        self._asked.add(key)
        if key in self._data:
            return Part(self._document, (*self._address, key))
        return Part(document.Document(self._document.name, {}))

    def text(self, key: str, default: str | None = None) -> str:
        """Text; a number as it was typed."""
        self._asked.add(key)
        value = self._data.get(key, default)
        typed = getattr(value, "typed", value)
        if not isinstance(typed, str):
            raise ValueError(f"{self.where(key)}: {key} is wanted, as text")
        return typed

    def count(self, key: str, default: int | None = None) -> int:
        self._asked.add(key)
        value = self._data.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{self.where(key)}: {key} is wanted, as a whole number")
        return int(value)

    def flag(self, key: str) -> bool:
        self._asked.add(key)
        value = self._data.get(key, False)
        if not isinstance(value, bool):
            raise ValueError(f"{self.where(key)}: {key} is true or false")
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        self._asked.add(key)
        found = self._data.get(key, list(default))
        if not isinstance(found, list):
            raise ValueError(f"{self.where(key)}: a list is wanted")
        return tuple(str(getattr(item, "typed", item)) for item in found)

    def table(self, key: str) -> dict[str, str]:
        """A mapping of text to text."""
        below = self.part(key)
        return {name: below.text(name) for name in below._data}

    def raw(self) -> dict[str, Any]:
        """Everything below, unchecked."""
        self._asked.update(self._data)
        return dict(self._data)

    def done(self) -> None:
        """Refuse keys nobody asked for: a misspelt one would be silently without effect."""
        strange = sorted(set(self._data) - self._asked)
        if strange:
            raise ValueError(f"{self.where(strange[0])}: {strange[0]} means nothing here")


def read(name: str) -> Part:
    """The shipped file of this name. Raises ValueError where its form is not clean YAML."""
    found = document.read(FOLDER / name)
    if found.problems:
        raise ValueError(f"{found.problems[0].where}: {found.problems[0].what}")
    return Part(found)
