"""The role's modules: what is put in place, what is left alone, and what a failure says."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROLE = Path(__file__).resolve().parents[3] / "roles" / "router"


def load(name: str, folder: str = "library") -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROLE / folder / f"{name}.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def places() -> ModuleType:
    return load("dsdeploy_places", "module_utils")


@pytest.fixture(scope="module")
def host(places: ModuleType) -> ModuleType:
    sys.modules["ansible.module_utils.dsdeploy_places"] = places
    return load("router_host")


@pytest.fixture(scope="module")
def converge() -> ModuleType:
    return load("router_order")


@pytest.mark.parametrize("harm", ["content", "mode", "link", "gone", "folder"])
def test_harm_is_seen_and_put_right(host: ModuleType, places: ModuleType, tmp_path: Path, harm: str) -> None:
    folder, elsewhere = tmp_path / "one" / "two", tmp_path / "elsewhere"
    path = folder / "a.py"
    elsewhere.write_text("a = 1\n")
    ours = [places.own(str(folder)), places.own(str(path), "a = 1\n")]
    assert host.stale(ours) == ours
    for entry in ours:
        places.settle(entry)
    assert host.stale(ours) == []
    if harm == "content":
        path.write_text("import os\n")
    elif harm == "mode":
        path.chmod(0o666)
    elif harm == "folder":
        folder.chmod(0o777)
    else:
        path.unlink()
        if harm == "link":
            path.symlink_to(elsewhere)
    wrong = host.stale(ours)
    assert wrong == ([ours[0]] if harm == "folder" else [ours[1]])
    for entry in wrong:
        places.settle(entry)
    assert host.stale(ours) == [] and elsewhere.read_text() == "a = 1\n"


def test_a_first_configuration_that_is_no_utf_8_is_kept_byte_by_byte(
    host: ModuleType, places: ModuleType, tmp_path: Path
) -> None:
    path, theirs = tmp_path / "haproxy.cfg", b"# f\xfcr gw1\n"
    path.write_bytes(theirs)
    ((name, text),) = host.unkept([str(path)]).items()
    assert host.shown(text).encode() and "\ufffd" in host.shown(text)
    places.settle(places.own(name, text))
    assert Path(name).read_bytes() == theirs and host.unkept([str(path)]) == {}


def test_the_first_configuration_is_kept_and_never_a_later_one(host: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "haproxy.cfg"
    assert host.unkept([str(path)]) == {}
    path.write_text("theirs\n")
    (name, text), *rest = host.unkept([str(path)]).items()
    assert (name, text, rest) == (f"{path}.before-dsdeploy", "theirs\n", [])
    Path(name).write_text(text)
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
