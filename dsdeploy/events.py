"""What comes up from Ansible: one JSON line a task result, read into an outcome. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from dsdeploy.errors import Problem

Event = dict[str, Any]
TAIL_LINES = 12


@dataclass(frozen=True)
class Outcome:
    """What a play did."""

    ok: int = 0
    changed: int = 0
    failed: tuple[Event, ...] = ()
    unreachable: tuple[Event, ...] = ()
    changes: tuple[Event, ...] = ()
    notices: tuple[str, ...] = ()
    reports: tuple[Mapping[str, Any], ...] = ()  # what a module counted and wants to be known: {"cut": 2}

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.ok + other.ok,
            self.changed + other.changed,
            self.failed + other.failed,
            self.unreachable + other.unreachable,
            self.changes + other.changes,
            self.notices + other.notices,
            self.reports + other.reports,
        )


class Reader:
    """New whole lines of a growing file; a line still being written waits for the next call."""

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines
        self._rest = ""

    def new(self) -> Iterator[Event]:
        *whole, self._rest = (self._rest + self._lines.read()).split("\n")
        for line in whole:
            if line:
                yield json.loads(line)


def outcome(seen: Sequence[Event]) -> Outcome:
    """Count the results of one play."""
    results = [event for event in seen if event["event"] == "result"]
    changes = tuple(event for event in results if event["status"] == "changed")
    return Outcome(
        ok=sum(event["status"] == "ok" for event in results),
        changed=len(changes),
        failed=tuple(event for event in results if event["status"] == "failed"),
        unreachable=tuple(event for event in results if event["status"] == "unreachable"),
        changes=changes,
        notices=tuple(f"{event['host']}: {event['notice']}" for event in results if event.get("notice")),
        reports=tuple(event["report"] for event in results if isinstance(event.get("report"), dict)),
    )


def problems(failures: Sequence[Event], playbook: str, log: Path) -> list[Problem]:
    """One problem a host: the first thing that went wrong there."""
    first: dict[str, Event] = {}
    for event in failures:
        first.setdefault(event["host"], event)
    return [problem(event, playbook, log) for event in first.values()]


def problem(event: Event, playbook: str, log: Path) -> Problem:
    """A failed result as error / at / try. A role may put its own `try: …` on the message's last line."""
    message, hint = split_hint(str(event.get("message") or "no message"))
    if event["status"] == "unreachable":
        message = f"host {event['host']} cannot be reached: {message}"
        hint = hint or "dsdeploy check SITE, which shows what SSH says; then run the same command again"
    return Problem(
        what=message if event["host"] in message else f"{event['host']}: {message}",
        where=f"host {event['host']}, {playbook}: {event['task']} (log {log})",
        hint=hint or "mend what the message names, then run the same command again; finished work is kept",
    )


def fenced(event: Event) -> bool:
    """A host said that a later run has been there: nothing of this one may go on."""
    failed = event["event"] == "result" and event["status"] == "failed"
    return failed and str(event.get("message")).startswith("fenced:")


def split_hint(message: str) -> tuple[str, str]:
    """Split `… \\ntry: do this` into the message and the hint."""
    lines = message.strip().splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith("try:"):
            hint = "\n".join([line.strip()[4:].strip(), *lines[number + 1 :]])
            return "\n".join(lines[:number]).strip(), hint.strip()
    return message.strip(), ""


def unexplained(playbook: str, code: int, log: Path) -> Problem:
    """Ansible ended badly without a failed task: an unreadable inventory, a missing role. Show its own words."""
    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-TAIL_LINES:]
    return Problem(f"ansible-playbook ended with {code} during {playbook}:\n" + "\n".join(tail), f"log {log}")
