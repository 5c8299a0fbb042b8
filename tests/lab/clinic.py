"""Faults that doctor has to name: made on machines, named, followed by the line that stands there, and gone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, sleep
from typing import Any

from .conftest import Lab
from .terminal import Operator

Found = dict[str, Any]
Do = Callable[[], object]
Follow = Callable[[Operator, Found], object]
PATIENCE_S, FORGETS_S = 90.0, 330.0
HEAD = ("fault", "host", "diagnosis", "command", "afterwards")


def nothing() -> None:
    """What another fault brings about, or leaves to be cleared, by itself."""


def as_printed(operator: Operator, found: Found) -> None:
    """The line as it stands; it has to end well."""
    said = operator.type(found["command"])
    assert said.code == 0, f"$ {found['command']}\n{said.text}"


@dataclass(frozen=True)
class Ailment:
    """One fault. `says` is a regular expression for the symptom; `follow` types what doctor printed, and does what is
    a person's; `clear` takes away what the test put there, and may be asked twice. What is only `forgotten` after some
    minutes is not waited for: the last look of all has to show nothing of it."""

    what: str
    entry: str
    host: str
    says: str
    make: Do
    follow: Follow = as_printed
    clear: Do = nothing
    forgotten: bool = False

    def is_it(self, found: Found) -> bool:
        same = (found["entry"], found["host"]) == (self.entry, self.host)
        return same and re.search(self.says, found["symptom"]) is not None


class Ward:
    """Where faults of one kind are made."""

    def __init__(self, lab: Lab, operator: Operator) -> None:
        self.lab, self.operator = lab, operator

    def on(self, host: str, command: str, check: bool = True) -> Do:
        return partial(self.lab.tell, host, command, check)


@dataclass
class Clinic:
    """doctor, asked again and again; `seen` is what it has said of each fault so far."""

    operator: Operator
    last: list[Found] = field(default_factory=list)
    seen: dict[str, Found] = field(default_factory=dict)

    def look(self, ailments: Sequence[Ailment]) -> None:
        lab = self.operator.lab
        self.last = json.loads(lab.run("doctor", str(lab.site), "--json", code=None).stdout)["findings"]
        self.seen |= {one.what: found for one in ailments if (found := self.now(one))}

    def now(self, one: Ailment) -> Found | None:
        """What the last look said of it."""
        return next((found for found in self.last if one.is_it(found)), None)

    def named(self, one: Ailment, ailments: Sequence[Ailment]) -> Found:
        self._until(lambda: one.what in self.seen, ailments, f"{one.what}: not named")
        return self.seen[one.what]

    def gone(self, one: Ailment, ailments: Sequence[Ailment]) -> None:
        self.look(ailments)
        self._until(lambda: self.now(one) is None, ailments, f"{one.what}: still named")

    def until_well(self) -> None:
        """Nothing at all is known to be wrong, at the latest when everything is forgotten."""
        self.look(())
        self._until(lambda: not self.last, (), "at the end", FORGETS_S)

    def _until(
        self, what: Callable[[], bool], ailments: Sequence[Ailment], why: str, patience: float = PATIENCE_S
    ) -> None:
        deadline = monotonic() + patience
        while not what():
            assert monotonic() < deadline, f"{why}: {json.dumps(self.last, indent=1)}"
            sleep(1)
            self.look(ailments)

    def treat(self, ailments: Sequence[Ailment]) -> Iterator[tuple[str, ...]]:
        """Make them all, the last first; then one after the other: named, followed, gone, cleared. A row for each."""
        try:
            for one in reversed(ailments):
                one.make()
            self.look(ailments)
            for one in ailments:
                found, command = self.named(one, ailments), "(the one before)"
                if now := self.now(one):
                    command = now["command"]
                    one.follow(self.operator, now)
                    if not one.forgotten:
                        self.gone(one, ailments)
                one.clear()
                after = "nothing at the end" if one.forgotten else "nothing"
                yield one.what, one.host, f"{found['entry']}: {found['symptom']}", command, after
        finally:
            for one in ailments:
                one.clear()
