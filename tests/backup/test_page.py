"""docs/backup.md: every drill is one that a test runs, or says that it is done by hand; all are commands there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from dsdeploy.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "backup.md").read_text(encoding="utf-8")
DRILLS = dict(re.findall(r"<!-- drill: (.+?) -->\n```\n(.*?)\n```", PAGE, re.DOTALL))
BY_HAND = ", by hand"


def test_every_drill_is_run_by_a_test_or_says_that_nobody_does() -> None:
    assert len(DRILLS) == PAGE.count("<!-- drill:") >= 4
    run = set(re.findall(r"""drill\(\w+, "(.+?)"\)""", (ROOT / "tests" / "lab" / "test_backup.py").read_text()))
    assert {name for name in DRILLS if not name.endswith(BY_HAND)} == run


@pytest.mark.parametrize("name", DRILLS)
def test_its_commands_are_ones_that_dsdeploy_takes(name: str) -> None:
    for line in DRILLS[name].splitlines():
        program, *words = shlex.split(line)
        if program == "dsdeploy":
            command: click.Command = cli
            while isinstance(command, click.Group):
                command = command.commands[words.pop(0)]
            command.make_context(command.name, words)  # raises click's own errors for an option or a value that is none


def test_a_bare_machine_is_prepared_before_anything_else_is_put_on_it() -> None:
    """Roles after it use what the stage prep puts there, as the lock of the package manager."""
    lines = DRILLS[f"fresh{BY_HAND}"].splitlines()
    stages = [found[1] for line in lines if (found := re.search(r"--only (\w+)", line))]
    assert stages == ["prep", "backup"] and "up" in lines[0]
    assert "/usr/local/lib/dsdeploy/host/package_lock.py" in (ROOT / "roles/backup/vars/main.yml").read_text()
    assert "package_lock.py" in (ROOT / "roles/host/tasks/layout.yml").read_text()
