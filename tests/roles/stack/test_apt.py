"""The stack role's programs against the real apt and dpkg; every profile on every Debian and Ubuntu is in test_matrix.

The repositories are made here (empty payloads, true names and versions), signed, and served over HTTP.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from dsdeploy.stacks.order import Order

from . import world
from .conftest import Key, told
from .debs import Root, repository
from .ground import carried_out

sources = sys.modules["stack_sources"]
plan = sys.modules["ansible.module_utils.dsdeploy_stack_plan"]
apt = sys.modules["ansible.module_utils.dsdeploy_stack_apt"]


def publish(mirror: tuple[str, Path], order: Order, key: Key, newer: bool = True) -> None:
    """All repositories of an order, each with its key beside it, below the mirror."""
    url, folder = mirror
    packages = [*world.offered(order, newer), *world.compilers(order)]
    for one in order["repositories"]:
        repository(folder / one["url"].removeprefix(url), packages, [*key.words])
    for one in order["keys"]:
        path = folder / one["url"].removeprefix(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(key.public)


def name_sources(root: Root, order: Order, check: bool = False) -> list[str]:
    given = {"manager": "apt", "root": str(root.path), "foreign": order["foreign_names"]}
    given |= {name: order[name] for name in ("keys", "repositories", "pins", "held", "displaced")}
    given["components"] = order.get("components", [])
    made = [*sources.keyrings(given, check), *sources.texts(given, check), *sources.set_aside(given, check)]
    return [str(one["path"]) for one in made]


def left(root: Root, order: Order) -> Any:
    names = (order["unwanted"], order["driver"], order["family_names"], order["foreign_names"])
    return plan.work(apt.Apt(root.run).installed(), order["steps"], *names)


def install(root: Root, order: Order) -> list[str]:
    """As the module does it: what is left, rehearsed, applied, held."""
    manager, work = apt.Apt(root.run, order["driver"], order["flavour"]), left(root, order)
    return carried_out(manager, work, order)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def test_without_the_preferred_versions_a_metapackage_would_pull_the_newest_driver(
    mirror: tuple[str, Path], key: Key, root: Root
) -> None:
    """What the preferences are for: this is the fault they prevent, and that the others could not see without it."""
    order = told("cuda12.8", "ubuntu20.04", mirror[0], key)
    publish(mirror, order, key)
    name_sources(root, {**order, "pins": []})
    install(root, {**order, "held": []})
    versions = {plan.driver_version(version) for version in apt.Apt(root.run).installed().values()} - {""}
    assert versions == {"570.124.06", "570.211.01"}


def test_an_earlier_branch_is_replaced_in_order_and_its_fabric_manager_with_it(
    mirror: tuple[str, Path], key: Key, root: Root
) -> None:
    before, after = (told(profile, "ubuntu22.04", mirror[0], key) for profile in ("cuda12.2", "cuda13"))
    older = {**before, "driver": "535.183.01", "steps": [
        [{"name": name, "version": "535.183.01-*"} for name in ("cuda-drivers-535", "nvidia-fabricmanager-535")],
        before["steps"][-1],
    ], "pins": [], "stream": ""}  # fmt: skip
    packages = [*world.offered(older, False), *world.compilers(older), *world.offered(after), *world.compilers(after)]
    repository(mirror[1] / after["repositories"][0]["url"].removeprefix(mirror[0]), packages, key.words)
    (mirror[1] / after["keys"][0]["url"].removeprefix(mirror[0])).write_text(key.public)
    name_sources(root, older)
    install(root, older)
    assert "nvidia-fabricmanager-535" in apt.Apt(root.run).holds()
    name_sources(root, after)
    done = install(root, after)
    there = apt.Apt(root.run).installed()
    assert {plan.driver_version(v) for n, v in there.items() if plan.among(n, after["family_names"])} - {""} == {
        after["driver"]
    }
    assert not [name for name in there if name.endswith("-535")]
    assert "remove nvidia-fabricmanager-535" in done and there["nvidia-fabricmanager"].startswith(after["driver"])
    assert install(root, after) == []


def test_modules_of_the_other_flavour_make_room_even_from_a_newer_driver(
    mirror: tuple[str, Path], key: Key, root: Root
) -> None:
    order = told("cuda13", "ubuntu22.04", mirror[0], key)
    closed = {**order, "flavour": "proprietary", "driver": "590.48.01", "pins": [], "steps": [
        [{"name": "cuda-drivers", "version": "590.48.01-*"}]]}  # fmt: skip
    url, folder = mirror
    publish(mirror, order, key)
    packages = [*world.offered(order), *world.compilers(order), *(
        part for version in ("590.48.01", order["driver"])
        for part in world.parts("cuda-drivers", f"{version}-1ubuntu1", "580", "apt"))]  # fmt: skip
    repository(folder / order["repositories"][0]["url"].removeprefix(url), dict.fromkeys(packages), key.words)
    name_sources(root, closed)
    install(root, closed)
    name_sources(root, order)
    install(root, order)
    there = apt.Apt(root.run).installed()
    assert "nvidia-kernel-proprietary-dkms" not in there and "cuda-drivers" not in there
    assert not left(root, order).any


@pytest.mark.parametrize("drag", ["cuda", "cuda-12-8"])
def test_a_metapackage_that_pulls_a_driver_is_removed(
    drag: str, mirror: tuple[str, Path], key: Key, root: Root
) -> None:
    order = told("cuda12.8", "ubuntu22.04", mirror[0], key)
    publish(mirror, order, key)
    name_sources(root, {**order, "pins": []})
    root.do("apt-get", "-q", "update")
    root.do("apt-get", "-y", "install", drag)
    assert left(root, order).unwanted == [drag] and left(root, order).strays, "it brought another driver"
    name_sources(root, order)
    install(root, order)
    assert drag not in apt.Apt(root.run).installed() and not left(root, order).any


def test_what_cannot_be_had_is_said_before_anything_is_touched(mirror: tuple[str, Path], key: Key, root: Root) -> None:
    order = told("cuda13", "ubuntu24.04", mirror[0], key)
    publish(mirror, order, key)
    name_sources(root, order)
    order["steps"][-1].append({"name": "libcudnn9-cuda-13", "version": "9.99.0-1"})
    with pytest.raises(apt.Refused, match=r"9\.99\.0-1"):
        install(root, order)
    assert apt.Apt(root.run).installed() == {}


def test_a_repository_that_another_key_signed_is_not_believed(
    mirror: tuple[str, Path], key: Key, root: Root, tmp_path: Path
) -> None:
    order = told("cuda13", "debian12", mirror[0], key)
    publish(mirror, order, key)
    name_sources(root, order)
    url = order["repositories"][0]["url"]
    other = Key(tmp_path / "other")
    repository(mirror[1] / url.removeprefix(mirror[0]), world.offered(order), other.words)
    with pytest.raises(apt.Refused, match=r"NO_PUBKEY|not signed"):
        install(root, order)
    assert apt.Apt(root.run).installed() == {}
