"""A YAML file as plain data that remembers where every key and value stood.

The file is read as a stream of parser events; no YAML constructor ever runs, so
a tag cannot build an object and an alias cannot grow. Scalars follow YAML 1.2:
only ``true``/``false`` are booleans, ``no``, ``0755``, ``22:22`` and ``1e3`` stay
the text the operator typed. Numbers keep their spelling (``1.10``) for fields
that want text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dsdeploy import text, typed
from dsdeploy.errors import Problem, SiteError

MAX_DEPTH = 16
MAX_VALUES = 20_000
MAX_PROBLEMS = 100  # of form; a file with more is not a site file

Step = str | int
Address = tuple[Step, ...]  # ("hosts", "gpu1", "roles", 0)

_PARSER: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


@dataclass
class Document:
    """The data of one file, the place of everything in it, and what was wrong with its form.

    Args:
        name: the file as the operator named it, used in every ``where``.
        data: mappings, lists and scalars; None where nothing could be read.
        keys, values: line and column, both from 0, of each key and each value.
        problems: duplicate keys, tags, anchors; the data is still usable beside them.
        unread: addresses whose value was refused and replaced by None.
    """

    name: str
    data: Any = None
    keys: dict[Address, tuple[int, int]] = field(default_factory=dict)
    values: dict[Address, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unread: set[Address] = field(default_factory=set)

    def where(self, address: Address, key: bool = False) -> str:
        """`file:line:column` of a value (or of its key), else of the nearest thing above it."""
        while address:
            place = (self.keys.get(address) if key else None) or self.values.get(address)
            if place:
                return text.place(self.name, *place)
            address = address[:-1]
        return text.place(self.name, *self.values.get((), (0, 0)))

    def typed(self, address: Address) -> Any:
        """What the file holds at an address: numbers remember their spelling."""
        value = self.data
        for step in address:
            value = value[step]
        return value


def read(path: Path) -> Document:
    """Read and parse one YAML file.

    Raises:
        SiteError: the file cannot be read, is not clean UTF-8 text, is not YAML, or is over a limit.
    """
    content = text.read(path)
    document = Document(str(path))
    reader = _Reader(document)
    try:
        for event in yaml.parse(content, Loader=_PARSER):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        raise SiteError([_syntax(document.name, content, error)]) from None
    except (yaml.YAMLError, ValueError) as error:  # libyaml reports bad escapes either way
        raise SiteError([Problem(f"not YAML: {text.shown(str(error))}", document.name)]) from None
    if document.data is None and not document.problems:
        hint = "dsdeploy init writes an annotated example"
        raise SiteError([Problem("the file holds no settings", document.name, hint)])
    return document


@dataclass
class _Frame:
    """A mapping or list that is still open, and the key waiting for its value."""

    box: dict[str, Any] | list[Any]
    address: Address
    key: str | None = None
    discard: bool = False  # the waiting value belongs to a duplicate key


class _Reader:
    """Builds the data from parser events with its own stack: nesting costs no recursion."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.stack: list[_Frame] = []
        self.count = 0
        self.documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._stop("a second YAML document starts here", event, "one file describes one site: remove the ---")
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self.stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)

    def _node(self, event: Any) -> None:
        self.count += 1
        if self.count > MAX_VALUES:
            self._stop(f"more than {MAX_VALUES} values", event, "one site file describes one site")
        if len(self.stack) >= MAX_DEPTH:
            self._stop(f"nested more than {MAX_DEPTH} levels deep", event, "a site file needs five levels")
        frame = self.stack[-1] if self.stack else None
        if frame is not None and isinstance(frame.box, dict) and frame.key is None:
            self._key(frame, frame.box, event)
            return
        address = self._address(frame)
        self.document.values.setdefault(address, _mark(event))
        value = self._value(event, address)
        self._store(frame, value)
        if isinstance(value, (dict, list)):
            self.stack.append(_Frame(value, address))

    def _key(self, frame: _Frame, box: dict[str, Any], event: Any) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            self._stop("a key must be plain text", event, "quote values that start with *, &, {, [ or !")
        if event.tag or event.anchor:
            self._refuse("tags and anchors are not allowed on keys", event, "remove it")
        frame.key = event.value
        address = (*frame.address, event.value)
        if event.value in box:
            frame.discard = True
            line = self.document.keys[address][0] + 1
            self._refuse(f"duplicate key {text.shown(event.value)}, first on line {line}", event, "keep one of the two")
        else:
            self.document.keys.setdefault(address, _mark(event))

    def _address(self, frame: _Frame | None) -> Address:
        if frame is None:
            return ()
        if isinstance(frame.box, list):
            return (*frame.address, len(frame.box))
        return (*frame.address, str(frame.key))

    def _value(self, event: Any, address: Address) -> Any:
        if isinstance(event, yaml.AliasEvent):
            self._refuse("aliases are not allowed", event, "write the value out; quote text that starts with *")
            self.document.unread.add(address)
            return None
        if event.tag:
            self._refuse(
                f"the tag {text.shown(event.tag)} is not allowed",
                event,
                "remove it; quote text that starts with !",
            )
            self.document.unread.add(address)
        if event.anchor:
            self._refuse("anchors are not allowed", event, "remove it; quote text that starts with &")
        if isinstance(event, yaml.MappingStartEvent):
            return {}
        if isinstance(event, yaml.SequenceStartEvent):
            return []
        return typed.plain(event.value) if event.implicit[0] and not event.style else event.value

    def _store(self, frame: _Frame | None, value: Any) -> None:
        if frame is None:
            self.document.data = value
        elif isinstance(frame.box, list):
            frame.box.append(value)
        else:
            if not frame.discard:
                frame.box[str(frame.key)] = value
            frame.key, frame.discard = None, False

    def _refuse(self, what: str, event: Any, hint: str) -> None:
        problems = self.document.problems
        problems.append(Problem(what, text.place(self.document.name, *_mark(event)), hint))
        if len(problems) > MAX_PROBLEMS:
            raise SiteError(problems)

    def _stop(self, what: str, event: Any, hint: str) -> None:
        self._refuse(what, event, hint)
        raise SiteError(self.document.problems)


def _mark(event: Any) -> tuple[int, int]:
    return event.start_mark.line, event.start_mark.column


def _syntax(name: str, content: str, error: yaml.MarkedYAMLError) -> Problem:
    """A parser's complaint with the line it is about, a caret under the spot, and the usual cure."""
    opened = error.context_mark
    mark = error.problem_mark or opened
    assert mark is not None  # libyaml always says where
    if opened and "quoted scalar" in (error.context or "") and "unexpected" in (error.problem or ""):
        mark, what, hint = opened, "a quote is opened here and never closed", "close it with the same quote"
    else:
        what = f"not YAML: {error.problem}" + (f", {error.context}" if error.context else "")
        hint = "check indentation, colons and quotes on this line and the one above"
        if opened and opened.line != mark.line:
            what += f" that starts on line {opened.line + 1}"
    lines = content.splitlines() or [""]
    line = lines[min(mark.line, len(lines) - 1)]
    if "\t" in line[: mark.column + 1]:
        what, hint = "a tab where YAML wants spaces", "replace it: YAML does not indent with tabs"
    return Problem(f"{what}\n{text.snippet(line, mark.column)}", text.place(name, mark.line, mark.column), hint)


def under(address: Address, parents: set[Address]) -> bool:
    """Whether an address is one of the parents or lies below one."""
    return any(address[:length] in parents for length in _lengths(address))


def _lengths(address: Address) -> Iterator[int]:
    return iter(range(len(address) + 1))
