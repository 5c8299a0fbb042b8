"""What Python emits and what the roles declare are the same thing, so a rename on either side fails here."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from dsdeploy import inventory, site
from dsdeploy.commands.init import example
from dsdeploy.decisions import Decisions

ROOT = Path(__file__).resolve().parent.parent
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if (path / "meta").is_dir())
SITES = [*sorted((ROOT / "inventory").glob("*/site.yml")), Path("init")]


class Reader(yaml.SafeLoader):
    """Reads YAML written for Ansible; what its tags mean does not matter here."""


Reader.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node))


def read(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Reader)


@cache
def options(role: Path) -> dict[str, dict[str, Any]]:
    """Every option of a role, whichever entry point declares it."""
    specs = read(role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for spec in specs.values() for name, option in spec.get("options", {}).items()}


@cache
def defaults(role: Path) -> dict[str, Any]:
    return read(role / "defaults" / "main.yml") or {}


def decided(loaded: site.Site) -> Decisions:
    engines = loaded.with_role("engine")
    return Decisions(
        release="r1",
        weights_digest="sha256:ab",
        build_key="key",
        settings={"context_tokens": 4096},
        wheelhouse=Path("/wheels"),
        colours=dict.fromkeys(engines, "green"),
        active=dict.fromkeys(engines, "blue"),
        releases={name: {"blue": "r0"} for name in engines},
    )


def load(path: Path, folder: Path) -> site.Site:
    if path.name == "init":
        path = folder / "site.yml"
        path.write_text(example(), encoding="utf-8")
    return site.load(path)


def emitted(loaded: site.Site) -> dict[str, dict[str, Any]]:
    """host -> every variable it gets, as Ansible merges them: all, its groups, its own."""
    tree = yaml.load(inventory.render(loaded, decided(loaded)), Loader=Reader)["all"]
    return {
        name: {
            variable: value
            for part in (
                tree["vars"],
                *(group["vars"] for group in tree["children"].values() if name in group["hosts"]),
                own,
            )
            for variable, value in part.items()
            if not variable.startswith("ansible_")
        }
        for name, own in tree["hosts"].items()
    }


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.parent.name or path.name)
def test_each_variable_is_declared_by_exactly_one_role(path: Path, tmp_path: Path) -> None:
    declared = Counter(name for role in ROLES for name in options(role))
    variables = {name for host in emitted(load(path, tmp_path)).values() for name in host}
    assert {name: declared[name] for name in variables if declared[name] != 1} == {}


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.parent.name or path.name)
def test_each_required_option_is_given_to_every_host_that_plays_the_role(path: Path, tmp_path: Path) -> None:
    loaded = load(path, tmp_path)
    # which hosts a role runs on: the group of its name, the engines for weights, all for host
    wanted = {"weights": "engine", "engine": "engine", "router": "router", "zookeeper": "zookeeper"}
    missing = [
        (host, name)
        for host, variables in emitted(loaded).items()
        for role in ROLES
        if role.name == "host" or wanted.get(role.name) in loaded.hosts[host].roles
        for name, option in options(role).items()
        if option.get("required") and name not in variables
    ]
    assert missing == []


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.parent.name or path.name)
def test_each_value_has_the_type_its_option_declares(path: Path, tmp_path: Path) -> None:
    kinds = {"int": int, "float": (int, float), "bool": bool, "str": str, "path": str, "list": list, "dict": dict}
    declared = {name: option for role in ROLES for name, option in options(role).items()}
    wrong = [
        (host, name, value)
        for host, variables in emitted(load(path, tmp_path)).items()
        for name, value in variables.items()
        if (kind := declared.get(name, {}).get("type", "str")) != "raw"
        and (not isinstance(value, kinds[kind]) or (kind == "int" and isinstance(value, bool)))
    ]
    assert wrong == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_each_option_that_is_not_required_has_a_default_and_each_default_an_option(role: Path) -> None:
    optional = {name for name, option in options(role).items() if not option.get("required")}
    assert set(defaults(role)) == optional


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_each_option_is_described_typed_named_after_its_role_and_has_its_value_elsewhere(role: Path) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []
    faulty = [
        name
        for name, option in options(role).items()
        if not option.get("description") or not option.get("type") or "default" in option
    ]
    assert faulty == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_knows_nothing_of_the_inventory(role: Path) -> None:
    files = [path for path in role.rglob("*") if path.suffix in (".yml", ".j2") and "molecule" not in path.parts]
    assert files
    fleet = re.compile(r"\bgroups(\[|\.)|\bgroup_names\b|\bhostvars\b")
    assert [path for path in files if fleet.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("playbook", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_python_alone_decides_which_hosts_go_together(playbook: Path) -> None:
    """`serial` walks past a host that is unreachable, and makes one after the other of what may go at once."""
    assert [play["name"] for play in read(playbook) if "serial" in play] == []


def test_programs_on_hosts_are_started_by_the_python_that_ansible_uses_there() -> None:
    """On EL8 and CentOS 7 the system's own is too old or absent: the inventory names another for each host."""
    chosen = "{{ ansible_python_interpreter | default('/usr/bin/python3') }}"
    command = re.compile(r"(?<!#!)/usr/bin/python3|(?<![\w./-])python3 -[a-zA-Z]|^\s*- python3$", re.MULTILINE)
    parts = ("vars", "defaults", "tasks", "templates", "library", "module_utils")
    files = [path for role in ROLES for part in parts for path in (role / part).glob("*") if path.is_file()]
    texts = {path: path.read_text(encoding="utf-8").replace(chosen, "") for path in files}
    fixed = {str(path.relative_to(ROOT)): found for path, text in texts.items() if (found := command.findall(text))}
    assert fixed == {}
    # and so are those that facts start
    from dsdeploy.facts import python

    assert python.LINK in (ROOT / "roles/host/tasks/layout.yml").read_text()
    started = re.compile(r"(timeout[^\n]*|&& )python3 -|\[\"python3\"")
    asked = [path for folder in ("facts", "fabric") for path in (ROOT / "dsdeploy" / folder).glob("*.py")]
    assert [path for path in asked if started.search(path.read_text(encoding="utf-8"))] == []
