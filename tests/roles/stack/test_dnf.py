"""The stack role's programs against the real dnf and rpm; every profile on every EL is in test_matrix.

The packages are made here with rpmbuild (empty payloads, true names, versions and streams), signed, and served over
HTTP. EL7's yum exists nowhere any more but on EL7: its words are looked at in test_words, and dnf takes them in its
place in test_matrix.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from dsdeploy.stacks.order import Order

from . import rpms, world
from .conftest import Key, told
from .ground import carried_out
from .rpms import Builder, Root

sources = sys.modules["stack_sources"]
plan = sys.modules["ansible.module_utils.dsdeploy_stack_plan"]
rpm = sys.modules["ansible.module_utils.dsdeploy_stack_rpm"]

TOOLS = [tool for tool in ("dnf", "rpmbuild", "rpmsign", "createrepo_c", "modifyrepo_c") if not shutil.which(tool)]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(TOOLS), reason=f"missing here: {', '.join(TOOLS)} (apt install dnf rpm createrepo-c)"),
]


@pytest.fixture(scope="session")
def builder(key: Key, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return Builder(tmp_path_factory.mktemp("rpms"), key.words)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def publish(mirror: tuple[str, Path], order: Order, key: Key, builder: Builder, *more: world.Package) -> None:
    packages = [*world.offered(order), *world.compilers(order), *more]
    rpms.publish(mirror[1], mirror[0], order, packages, builder, key.public)


def backend(root: Root, order: Order) -> Any:
    family = order["family_names"]
    named = (order["driver"], order["flavour"], family, order["stream"])
    return rpm.Rpm(root.run, "dnf", *named, "", str(root.path), root.extra)


def name_sources(root: Root, order: Order) -> list[str]:
    given = {"manager": "dnf", "root": str(root.path), "foreign": order["foreign_names"]}
    given |= {name: order[name] for name in ("keys", "repositories", "pins", "held", "displaced")}
    made = [*sources.set_aside(given, False), *sources.keyrings(given, False), *sources.texts(given, False)]
    return [str(one["path"]) for one in made]


def left(root: Root, order: Order) -> Any:
    names = (order["unwanted"], order["driver"], order["family_names"], order["foreign_names"])
    return plan.work(backend(root, order).installed(), order["steps"], *names)


def install(root: Root, order: Order) -> list[str]:
    manager, work = backend(root, order), left(root, order)
    return carried_out(manager, work, order)


def test_without_the_lock_an_upgrade_moves_the_stack(
    mirror: tuple[str, Path], key: Key, root: Root, builder: Builder
) -> None:
    """What the lock is for: the upgrade that moves nothing in test_matrix would move something, were it not there."""
    order = told("cuda13", "el9", mirror[0], key)
    publish(mirror, order, key, builder)
    name_sources(root, order)
    install(root, order)
    before = backend(root, order).installed()
    root.dnf("--disableplugin=versionlock", "upgrade")
    assert backend(root, order).installed() != before


def test_holds_without_the_plugin_that_reads_them_are_none_and_bring_it_first(
    mirror: tuple[str, Path], key: Key, root: Root, builder: Builder
) -> None:
    order = told("cuda13", "el9", mirror[0], key)
    conf = root.path / "etc/dnf/plugins/versionlock.conf"
    name, text = rpm.LOCK_PACKAGE["dnf"], conf.read_bytes()
    publish(mirror, order, key, builder, world.Package(name, "4.3.0-1", files={str(conf.relative_to(root.path)): text}))
    name_sources(root, order)
    conf.unlink()
    install(root, order)
    assert conf.read_bytes() == text
    there = backend(root, order).installed()
    root.do("rpm", "--root", str(root.path), "-e", "--nodeps", name)
    manager = backend(root, order)
    held = plan.held(manager.installed(), order["held"], order["foreign_names"])
    assert manager.unheld(there, held) == held
    install(root, order)  # no package is left to change
    assert conf.read_bytes() == text and manager.unheld(there, held) == []


def drivers(there: dict[str, str], order: Order) -> set[str]:
    return {plan.driver_version(there[name]) for name in there if plan.among(name, order["family_names"])} - {""}


def test_a_newer_driver_of_the_other_flavour_that_somebody_left_makes_room(
    mirror: tuple[str, Path], key: Key, root: Root, builder: Builder
) -> None:
    """Its metapackage asked for its parts by `>=`, so they are of yet another version; `cuda` would bring them back."""
    from dsdeploy.stacks import Gpu

    order = told("cuda13", "el9", mirror[0], key)
    volta = told("cuda13", "el9", mirror[0], key, gpus=(Gpu("Tesla V100-SXM2-32GB"),))
    publish(mirror, order, key, builder, *world.offered(volta))
    name_sources(root, order)
    root.dnf("module", "enable", volta["stream"])
    root.dnf("install", "cuda-drivers-580.999.01", "nvidia-fabricmanager-590.48.01", "cuda")
    assert drivers(backend(root, order).installed(), order) == {"580.999.01", "590.48.01"}
    install(root, order)
    there = backend(root, order).installed()
    assert drivers(there, order) == {order["driver"]} and "nvidia-open" in there and "nvidia-fabricmanager" in there
    assert not {"cuda", "cuda-drivers", "kmod-nvidia-proprietary-dkms"} & set(there)
    assert install(root, order) == []


def test_the_next_branch_takes_the_place_of_the_first_with_its_fabric_manager_in_one_transaction(
    mirror: tuple[str, Path], key: Key, root: Root, builder: Builder
) -> None:
    order = told("cuda13", "el9", mirror[0], key)
    after = world.next_branch(order)
    publish(mirror, order, key, builder, *world.offered(after, newer=False))
    name_sources(root, order)
    install(root, order)
    name_sources(root, after)
    assert install(root, after)
    there = backend(root, after).installed()
    assert drivers(there, after) == {after["driver"]} and backend(root, after)._stream() == after["stream"]
    query = ["rpm", "--root", str(root.path), "-q", "--qf", "%{INSTALLTID}\n"]
    assert len(set(root.do(*query, "nvidia-open", "nvidia-driver", "nvidia-fabricmanager").split())) == 1
    root.dnf("upgrade")
    assert backend(root, after).installed() == there
    assert install(root, after) == []


def test_the_other_flavour_takes_the_place_of_the_first(
    mirror: tuple[str, Path], key: Key, root: Root, builder: Builder
) -> None:
    from dsdeploy.stacks import Gpu

    order = told("cuda12.8", "el9", mirror[0], key)
    volta = told("cuda12.8", "el9", mirror[0], key, gpus=(Gpu("Tesla V100-SXM2-32GB"),))
    assert (order["stream"], volta["stream"]) == ("nvidia-driver:580-open", "nvidia-driver:580-dkms")
    publish(mirror, order, key, builder, *world.offered(volta))
    name_sources(root, order)
    install(root, order)
    assert "nvidia-open" in backend(root, order).installed()
    closed = {**volta, "unwanted": [*volta["unwanted"], "nvidia-open"]}
    install(root, closed)
    there = backend(root, closed).installed()
    assert "cuda-drivers" in there and "nvidia-open" not in there and "kmod-nvidia-open-dkms" not in there


def test_a_package_that_another_key_signed_is_not_installed(
    mirror: tuple[str, Path], key: Key, root: Root, tmp_path: Path
) -> None:
    order = told("cuda13", "el9", mirror[0], key)
    other = Key(tmp_path / "other")
    publish(mirror, order, key, Builder(tmp_path / "rpms", other.words))
    name_sources(root, order)
    with pytest.raises(rpm.Refused):
        install(root, order)
    assert backend(root, order).installed() == {}
