"""The role's modules: what is put in place, what is left alone, and what a failure says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

LIBRARY = Path(__file__).resolve().parents[3] / "roles" / "router" / "library"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, LIBRARY / f"{name}.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def host() -> ModuleType:
    return load("router_host")


@pytest.fixture(scope="module")
def converge() -> ModuleType:
    return load("router_order")


@pytest.mark.parametrize("harm", ["content", "mode", "link", "gone", "folder"])
def test_harm_is_seen_and_put_right(host: ModuleType, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "one" / "two"
    host.make(folder)
    path, elsewhere, files = folder / "a.py", tmp_path / "elsewhere", {str(folder / "a.py"): "a = 1\n"}
    elsewhere.write_text("a = 1\n")
    host.write(path, "a = 1\n")
    assert host.stale(files) == [] and host.owned(folder, 0o40755)
    if harm == "content":
        path.write_text("import os\n")
    elif harm == "mode":
        path.chmod(0o666)
    elif harm == "folder":
        folder.chmod(0o777)
        assert not host.owned(folder, 0o40755)
    else:
        path.unlink()
        if harm == "link":
            path.symlink_to(elsewhere)
    assert host.stale(files) == ([] if harm == "folder" else [str(path)])
    host.make(folder)
    host.write(path, "a = 1\n")
    assert host.stale(files) == [] and host.owned(folder, 0o40755) and elsewhere.read_text() == "a = 1\n"


def test_the_first_configuration_is_kept_and_never_a_later_one(host: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    assert host.unkept([str(path)]) == {}
    path.write_text("theirs\n")
    (name, text), *rest = host.unkept([str(path)]).items()
    assert (name, text, rest) == (f"{path}.before-dsdeploy", "theirs\n", [])
    host.write(Path(name), text)
    path.write_text("ours\n")
    assert host.unkept([str(path)]) == {}


@pytest.mark.parametrize(("address", "name"), [("10.0.0.5", "eth1"), ("fd00::5", "eth1"), ("10.0.0.50", "")])
def test_the_interface_is_the_one_that_has_the_address(host: ModuleType, address: str, name: str) -> None:
    links = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]},
        {"ifname": "eth0"},
        {"ifname": "eth1", "addr_info": [{"local": "10.0.0.5"}, {"local": "fd00::5"}]},
    ]
    assert host.interface_of(address, json.dumps(links)) == name
    assert host.interface_of(address, "") == ""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            (0, '{"changed": true, "did": ["reloaded"], "cut": 2}', ""),
            {"changed": True, "did": ["reloaded"], "report": {"cut": 2}},
        ),
        ((1, '{"failed": "no engine"}', ""), {"failed": True, "rc": 1, "msg": "no engine"}),
        ((1, "", "Traceback\n"), {"failed": True, "rc": 1, "msg": "Traceback"}),
        ((0, "", ""), {"failed": True, "rc": 0, "msg": "it ended with 0"}),
    ],
)
def test_a_failure_is_told_in_the_programs_words(
    converge: ModuleType, said: tuple[int, str, str], told: dict[str, object]
) -> None:
    assert converge.outcome(*said) == told
