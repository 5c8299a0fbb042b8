"""Every profile on every distribution it has packages for, through its whole life, by the real package managers.

docs/gpu-hosts.md has the table of it; after a change on purpose: DSDEPLOY_GOLDEN=write pytest with -k table.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dsdeploy.stacks import Gpu, Host, matrix
from dsdeploy.stacks.order import Order, order

from . import rpms, world
from .conftest import Key, combinations, told
from .ground import Ground, Refused, plan

proof = sys.modules["ansible.module_utils.dsdeploy_stack_proof"]

TOOLS = [tool for tool in ("dnf", "rpmbuild", "rpmsign", "createrepo_c", "modifyrepo_c") if not shutil.which(tool)]
DNF = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(TOOLS), reason=f"missing here: {', '.join(TOOLS)} (apt install dnf rpm createrepo-c)"),
]
EVERY = [
    *combinations("debian"),
    *(pytest.param(*pair, marks=DNF) for pair in combinations("redhat")),
]
VOLTA = Gpu("Tesla V100-SXM2-32GB")  # has proprietary modules only
# the branch that follows one on the same distribution, where stacks.yml has it; elsewhere the driver's own next version
FOLLOWS = {"apt-470": "apt-535", "apt-535": "apt-570", "rpm7-470": "rpm7-535", "rpm8-470": "rpm-580"}


@pytest.fixture(scope="session")
def builder(key: Key, tmp_path_factory: pytest.TempPathFactory) -> rpms.Builder:
    return rpms.Builder(tmp_path_factory.mktemp("rpms"), key.words)


@pytest.fixture(scope="session")
def unattended(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Debian's unattended-upgrade, unpacked beside this computer's own packages; None where it cannot be had."""
    folder = tmp_path_factory.mktemp("unattended")
    names = ("unattended-upgrades", "python3-distro-info", "distro-info-data")
    got = subprocess.run(["apt-get", "-q", "download", *names], cwd=folder, capture_output=True, check=False)
    for one in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(one), str(folder)], check=True)
    program = folder / "usr/bin/unattended-upgrade"
    return program if got.returncode == 0 and program.exists() else None


@pytest.fixture
def ground(tmp_path: Path, mirror: tuple[str, Path], key: Key, builder: rpms.Builder) -> Ground:
    return Ground(tmp_path / "root", mirror, key, builder)


def stock(order: Order, newer: bool = True) -> list[world.Package]:
    return [*world.offered(order, newer), *world.compilers(order)]


def proofs(ground: Ground, order: Order) -> dict[str, bool]:
    """What of the checks can be asked without a driver in memory, of the files below the folder."""
    found = {}
    for check in order["checks"]:
        at = dict(check)
        if check["library"]:
            at["library"] = str(ground.folder / "usr/lib" / check["library"])
        elif check["what"] == "toolkit":
            at["command"] = f"{ground.folder}{check['command']}"
        elif check["what"] == "fabric":
            at["command"] = f"{ground.folder}/usr/bin/{check['command']}"
        else:
            continue
        found[check["what"]] = bool(proof.proven(at, ground.root.run)["ok"])
        assert not proof.proven({**at, "expect": "1"}, ground.root.run)["ok"]
    return found


def whole(ground: Ground, order: Order) -> dict[str, str]:
    """All that was ordered is there at its version, and no part of another driver; what is installed."""
    there = ground.installed(order)
    for one in (one for step in order["steps"] for one in step):
        assert plan.matches(there[one["name"]], one["version"]), one
    assert ground.drivers(order) == {order["driver"]}, there
    found = proofs(ground, order)
    assert {"toolkit", "cudnn", "fabric"} <= set(found) and all(found.values()), found
    return there


def kept(ground: Ground, order: Order, unattended: Path | None) -> None:
    """Nothing moves by night or by hand, a second run has nothing to do, and does not even ask the repositories."""
    there = ground.installed(order)
    said = ground.night(unattended)
    assert ground.installed(order) == there, said
    ground.upgrade()
    assert ground.installed(order) == there
    ground.root.commands.clear()
    assert ground.name_sources(order) == [] and ground.install(order) == []
    assert not [command for command in ground.root.commands if command[0] in ("apt-get", "dnf", "yum")]


@pytest.mark.parametrize(("profile", "distribution"), EVERY)
def test_a_bare_host_gets_the_stack_and_keeps_it(
    profile: str, distribution: str, ground: Ground, unattended: Path | None
) -> None:
    order = ground.told(told(profile, distribution, ground.mirror[0], ground.key))
    (fabric,) = (one["name"] for step in order["steps"] for one in step if "fabric" in one["name"])
    mismatched = [one for one in stock(order) if one.name != fabric or not one.version.startswith(order["driver"])]
    assert fabric in {one.name for one in mismatched}, "there is a Fabric Manager, of another version"
    ground.publish(order, mismatched)
    assert ground.name_sources(order)
    with pytest.raises(Refused, match=fabric):
        ground.install(order)
    assert ground.installed(order) == {}
    ground.publish(order, stock(order))
    assert ground.install(order)
    whole(ground, order)
    kept(ground, order, unattended)


def earlier(
    profile: str, distribution: str, ground: Ground
) -> tuple[Order, list[world.Package], list[tuple[str, str]]]:
    """What somebody may have left: the order it would be of, its packages, and those to install by hand.

    The other flavour where the branch has two, at the newest version; Fabric Manager at another one; and the
    metapackage that drags a driver in.
    """
    mirror, key = ground.mirror[0], ground.key
    ours, other = (told(profile, distribution, mirror, key, gpus=gpus) for gpus in ((), (VOLTA,)))
    branch = ours["driver"].split(".")[0]
    newest, another = world.NEWER[branch][0], world.NEWER[branch][-1]
    names = [one["name"] for step in other["steps"] for one in step]
    meta = next(one for one in names if one.startswith(("nvidia-open", "cuda-drivers", "nvidia-driver-branch")))
    fabric = next(one for one in names if "fabric" in one)
    return other, [(meta, newest), (fabric, another), ("cuda", "")]


def after(profile: str, distribution: str, ground: Ground) -> Order:
    """The order of a later edition of stacks.yml: the branch that follows, with its true names."""
    known = matrix()
    made, place = known.profiles[profile], known.distributions[distribution]
    packages = made.installs[distribution]
    assert packages.driver is not None
    follows = FOLLOWS.get(packages.driver.key, "")
    now = told(profile, distribution, ground.mirror[0], ground.key)
    if not follows:
        return world.next_branch(now)
    installs = {**made.installs, distribution: replace(packages, driver=known.drivers[follows])}
    host = Host(place.ids[0], place.version)
    found = order(known, replace(made, installs=installs), host, ground.mirror[0], nvswitch=True)
    assert found is not None
    return {**found, "keys": now["keys"]}


@pytest.mark.parametrize(("profile", "distribution"), EVERY)
def test_a_wrong_earlier_stack_makes_room_and_the_next_branch_comes_in_order(
    profile: str, distribution: str, ground: Ground, unattended: Path | None
) -> None:
    now = ground.told(told(profile, distribution, ground.mirror[0], ground.key))
    then, (wrong, left) = after(profile, distribution, ground), earlier(profile, distribution, ground)
    ground.publish(now, [*stock(now), *stock(wrong), *stock(then, newer=False)])
    ground.by_hand(wrong, *left)
    assert left[0][1] in ground.drivers(now) and not proofs(ground, now)["fabric"]
    assert {one for one, _ in left} <= set(ground.installed(now))
    ground.name_sources(now)
    assert ground.install(now)
    there = whole(ground, now)
    assert "cuda" not in there and not ground.left(now).any
    assert ground.install(now) == []

    ground.name_sources(then)
    ground.root.commands.clear()
    assert ground.install(then)
    moved = whole(ground, then)
    still = {one for one in moved if one in there and not plan.driver_version(moved[one])} - {"cuda"}
    assert still and all(moved[one] == there[one] for one in still), "libraries move with their own order alone"
    together(ground, then)
    kept(ground, then, unattended)


def together(ground: Ground, order: Order) -> None:
    """Driver and Fabric Manager came in one transaction, behind what has to be first."""
    steps = [[one["name"] for one in step] for step in order["steps"]]
    at = next(number for number, step in enumerate(steps) if any("fabric" in one for one in step))
    if ground.manager == "apt":
        words: list[list[str]] = [
            [word.split("=")[0] for word in command]
            for command in ground.root.commands
            if command[0] == "apt-get" and "install" in command and not {"-s", "-d"} & set(command)
        ]
        (driver,) = (number for number, one in enumerate(words) if set(steps[at]) <= set(one))
        assert all(any(first in one for one in words[:driver]) for step in steps[:at] for first in step)
        return
    query = ["rpm", "--root", str(ground.folder), "-q", "--qf", "%{INSTALLTID}\n", *steps[at]]
    assert len(set(ground.root.do(*query).split())) == 1


def test_each_of_three_things_keeps_a_version_by_night_and_without_all_of_them_it_would_move(
    ground: Ground, unattended: Path | None
) -> None:
    """That the nights of the other tests are nights: this one takes away what they have, one after the other."""
    if unattended is None:
        pytest.skip("unattended-upgrades cannot be had here: apt-get download finds none")
    order = ground.told(told("cuda13", "debian12", ground.mirror[0], ground.key))
    ground.publish(order, stock(order))
    ground.name_sources(order)
    ground.install(order)
    there, nothing = ground.installed(order), "No packages found that can be upgraded unattended"
    assert nothing in ground.night(unattended)
    ground.root.do("apt-mark", "unhold", *ground.backend(order).holds())
    assert nothing in ground.night(unattended)
    (ground.folder / "etc/apt/preferences.d/dsdeploy-stack").unlink()
    assert nothing in ground.night(unattended) and ground.installed(order) == there
    (ground.folder / "etc/apt/apt.conf.d/52dsdeploy-stack").unlink()
    assert "nvidia-open" in ground.night(unattended)
    assert ground.installed(order)["nvidia-open"] != there["nvidia-open"]


@pytest.mark.slow
@pytest.mark.skipif(bool(TOOLS), reason=f"missing here: {', '.join(TOOLS)} (apt install dnf rpm createrepo-c)")
def test_dnfs_night_would_move_a_stack_that_no_lock_keeps(ground: Ground) -> None:
    order = ground.told(told("cuda13", "el9", ground.mirror[0], ground.key))
    ground.publish(order, stock(order))
    ground.name_sources(order)
    ground.install(order)
    there = ground.installed(order)
    (ground.folder / "etc/dnf/plugins/versionlock.list").write_text("")
    ground.night(None)
    now = ground.installed(order)
    assert now["nvidia-open"] != there["nvidia-open"] and now["libnccl"] != there["libnccl"]


PAGE = Path(__file__).resolve().parents[3] / "docs" / "gpu-hosts.md"
HEAD = ("stack", "on", "driver", "package manager", "comes after", "next", "also on lab machines")
LAB = {("cuda12.8", "debian12"): "test_gpu_hosts", ("cuda13", "debian12"): "test_two_families, molecule",
       ("cuda13", "el9"): "test_two_families (stand-in)"}  # fmt: skip
REAL = {"apt": "apt, dpkg, unattended-upgrade", "dnf": "dnf, rpm, dnf-automatic", "yum": "dnf and rpm in yum's place"}


def table(ground: Ground) -> str:
    """One row for each combination that the tests above go through."""
    known, rows = matrix(), []
    for profile, distribution in [*combinations("debian"), *combinations("redhat")]:
        now, then = told(profile, distribution, ground.mirror[0], ground.key), after(profile, distribution, ground)
        _, left = earlier(profile, distribution, ground)
        wrong = f"{left[0][0]} {left[0][1]}, Fabric Manager {left[1][1]}, `cuda`"
        rows.append((profile, known.distributions[distribution].name, now["driver"], REAL[now["manager"]], wrong,
                     then["driver"], LAB.get((profile, distribution), "")))  # fmt: skip
    lines = [HEAD, tuple("---" for _ in HEAD), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def test_the_table_of_the_page_has_every_combination(ground: Ground) -> None:
    text, begin, end = PAGE.read_text(encoding="utf-8"), "<!-- combinations -->\n", "\n<!-- end -->"
    head, _, rest = text.partition(begin)
    found, mark, tail = rest.partition(end)
    assert mark, "the page has no place for the table"
    if os.environ.get("DSDEPLOY_GOLDEN") == "write":
        PAGE.write_text(f"{head}{begin}{table(ground)}{end}{tail}", encoding="utf-8")
        return
    assert found == table(ground)
