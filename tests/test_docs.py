"""docs/upgrades.md says what the code says: its tables are made from it.

After a change on purpose: DSDEPLOY_GOLDEN=write pytest tests/test_docs.py
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsdeploy import errors, hooks, points

PAGE = Path(__file__).resolve().parent.parent / "docs" / "upgrades.md"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def steps() -> str:
    def where(step: points.Step) -> str:
        return " ".join(verb for verb, there in (("up", step.up), ("upgrade", step.upgrade)) if there)

    def out(step: points.Step) -> str:
        if step.up and not step.upgrade:
            return "`up` again"
        return "`resume`; `rollback`" if step.past else "`resume`; `abort` or `rollback`"

    rows = ((f"`{s.name}`", where(s), s.does, s.leaves, out(s)) for s in points.STEPS)
    return table(("step", "in", "what happens", "killed here, requests go to", "then"), rows)


def phases() -> str:
    return ", ".join(f"`.{phase}`" for phase in points.PHASES)


def exits() -> str:
    kinds = (
        errors.DsdeployError,
        errors.GateError,
        errors.HostUnreachable,
        errors.LockHeld,
        errors.Fenced,
        errors.Interrupted,
    )
    rows = ((str(kind.exit_code), MEANING[kind]) for kind in kinds)
    return table(("exit", "after `upgrade` or `rollback` this means"), rows)


MEANING: dict[type[errors.DsdeployError], str] = {
    errors.DsdeployError: "refused before anything was touched, or past the commit and unfinished: the text says which",
    errors.GateError: "a gate said no; the old release serves on every host, the new one is stopped",
    errors.HostUnreachable: "a host could not be read; nothing was touched",
    errors.LockHeld: "another run changes the site; the text names it",
    errors.Fenced: "another run took over while this one was away; this one touched nothing after that",
    errors.Interrupted: "stopped between two steps, as asked; `resume` or `abort`",
}


def hook_names() -> str:
    return ", ".join(f"`hooks/{name}`" for name in hooks.NAMES)


MADE = {"steps": steps, "phases": phases, "exits": exits, "hooks": hook_names}


@pytest.mark.parametrize("name", MADE)
def test_a_table_is_what_the_code_says(name: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
    assert found, f"docs/upgrades.md has no part {name}"
    if os.environ.get("DSDEPLOY_GOLDEN") == "write":
        PAGE.write_text(text.replace(found[0], f"<!-- {name} -->\n{MADE[name]()}\n<!-- /{name} -->"), encoding="utf-8")
        return
    assert found[1] == MADE[name]()


def test_every_verb_it_names_exists() -> None:
    from dsdeploy.cli import cli

    named = set(re.findall(r"dsdeploy ([a-z]+)", PAGE.read_text(encoding="utf-8")))
    assert named and named <= set(cli.commands)
