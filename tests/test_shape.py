"""The layout rules as assertions: who may import what, which files must exist, how long they may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dsdeploy"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
COMMANDS = sorted(path for path in (PACKAGE / "commands").glob("*.py") if path.name != "__init__.py")

ONLY = {  # a library -> the places that may import it; everything else goes through them
    "kazoo": {"ensemble"},
    "paramiko": {"ssh", "hosts.py"},
    "pyinfra": {"hosts.py", "facts"},
    "pydantic": {"site.py", "values.py", "model.py", "site"},
    "yaml": {"document.py", "inventory.py"},
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("library", ONLY)
def test_a_library_is_used_in_one_place(library: str) -> None:
    users = set()
    for path in MODULES:
        if any(name == library or name.startswith(library + ".") for name in imports(path)):
            users.add(path.relative_to(PACKAGE).parts[0])
    assert users <= ONLY[library]


def test_only_output_prints() -> None:
    printers = [
        path.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printers == []


def test_nothing_below_calls_back_up() -> None:
    for path in MODULES:
        if path.parent.name == "commands" or path.name.startswith(("cli", "__main__")):
            continue
        assert not [name for name in imports(path) if name.startswith(("dsdeploy.commands", "dsdeploy.cli"))], path


def test_each_verb_has_its_command_and_each_command_its_verb() -> None:
    from dsdeploy.cli import cli

    assert sorted(cli.commands) == sorted(path.stem for path in COMMANDS)


@pytest.mark.parametrize("verb", [path.stem for path in COMMANDS])
def test_each_verb_has_help_with_an_example(verb: str) -> None:
    from click.testing import CliRunner

    from dsdeploy.cli import cli

    shown = CliRunner().invoke(cli, [verb, "--help"])
    assert shown.exit_code == 0 and "Example:" in shown.output


def test_modules_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert median(lengths.values()) < 100
    assert {str(path) for path, length in lengths.items() if length > 250} == set()


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_a_role_has_its_parts(role: Path) -> None:
    for part in ("README.md", "defaults/main.yml", "meta/argument_specs.yml", "tasks/main.yml"):
        assert (role / part).is_file(), part
    scenario = ROOT / "tests" / "molecule" / role.name
    assert (scenario / "molecule.yml").is_file() and (scenario / "verify.yml").is_file()


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_role_tasks_are_short_and_the_first_is_a_table_of_contents(role: Path) -> None:
    assert len((role / "tasks" / "main.yml").read_text().splitlines()) <= 30
    for tasks in (role / "tasks").glob("*.yml"):
        assert len(tasks.read_text().splitlines()) <= 80, tasks
        assert "groups[" not in tasks.read_text(), tasks


def keywords(role: Path) -> set[str]:
    """Task keywords that are module names: with a dot in them, or the role's own."""
    found: set[str] = set()
    own = {path.stem for path in (role / "library").glob("*.py")}

    def walk(value: object) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            for key, below in value.items():
                if isinstance(key, str) and (key.count(".") == 2 or key in own):
                    found.add(key)
                if key in ("block", "rescue", "always"):
                    walk(below)

    for tasks in (*role.glob("tasks/*.yml"), *role.glob("handlers/*.yml")):
        walk(yaml.safe_load(tasks.read_text()))
    return {name for name in found if name not in own}


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_a_role_uses_builtin_modules_only(role: Path) -> None:
    assert {name for name in keywords(role) if not name.startswith("ansible.builtin.")} == set()


@pytest.mark.parametrize("playbook", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.name)
def test_a_playbook_is_a_short_list_of_roles(playbook: Path) -> None:
    text = playbook.read_text()
    assert len(text.splitlines()) <= 40
    for play in yaml.safe_load(text):
        assert "ansible.builtin.import_playbook" in play or "roles" in play or len(play["tasks"]) == 1
