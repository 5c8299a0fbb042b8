"""What needs no package manager: keys, source files, and the words that EL7's yum gets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Key, told

sources = sys.modules["stack_sources"]
packages = sys.modules["stack_packages"]
proof_module = sys.modules["stack_proof"]
openpgp = sys.modules["ansible.module_utils.dsdeploy_openpgp"]
plan = sys.modules["ansible.module_utils.dsdeploy_stack_plan"]
text = sys.modules["ansible.module_utils.dsdeploy_stack_sources"]
rpm = sys.modules["ansible.module_utils.dsdeploy_stack_rpm"]
apt = sys.modules["ansible.module_utils.dsdeploy_stack_apt"]
proof = sys.modules["ansible.module_utils.dsdeploy_stack_proof"]


@pytest.mark.parametrize("kind", ["rsa2048", "ed25519"])
def test_a_fingerprint_is_what_gpg_says_in_either_form(kind: str, tmp_path: Path) -> None:
    key = Key(tmp_path / "home", kind)
    binary = subprocess.run([*key.words, "--export"], check=True, capture_output=True).stdout
    assert openpgp.dearmored(key.public.encode()) == binary
    for data in (binary, key.public.encode()):
        assert openpgp.fingerprints(data) == [key.fingerprint]
        assert sources.holds(data, key.fingerprint) == ""


def test_a_second_key_in_the_file_is_refused_even_behind_the_right_one(key: Key, tmp_path: Path) -> None:
    other = Key(tmp_path / "other", "ed25519")
    both = (key.public + other.public).encode()
    assert openpgp.fingerprints(both) == [key.fingerprint, other.fingerprint]
    assert other.fingerprint in sources.holds(both, key.fingerprint)


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>404</html>", b"\x99\x01", b"\x99\x00\x01\x04" + b"x" * 9, b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nx"],
)
def test_what_is_no_key_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(openpgp.NotAKey):
        openpgp.fingerprints(data)
    assert sources.holds(data, "A" * 40)


def test_another_key_than_the_wanted_one_is_not_written(mirror: tuple[str, Path], key: Key, tmp_path: Path) -> None:
    order = told("cuda13", "el9", mirror[0], key)
    at = mirror[1] / order["keys"][-1]["url"].removeprefix(mirror[0])
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(Key(tmp_path / "other").public)
    given = {"manager": "dnf", "keys": order["keys"][-1:], "root": str(tmp_path / "root")}
    with pytest.raises(sources.Wrong, match="is not the key"):
        sources.keyrings(given, check=False)
    assert not list((tmp_path / "root").rglob("*.asc"))


def test_sources_that_are_gone_or_doubled_are_set_aside_and_others_left(tmp_path: Path, key: Key) -> None:
    order = told("legacy-cuda11.6", "centos7", "", key)
    folder = tmp_path / "etc/yum.repos.d"
    folder.mkdir(parents=True)
    url = order["repositories"][-1]["url"]
    for name, content in {
        "CentOS-Base.repo": "[base]\nmirrorlist=http://mirrorlist.centos.org/?x\n",
        "own.repo": "[own]\nbaseurl=http://192.0.2.9/own/\n",
        "nvidia-again.repo": f"[x]\nbaseurl={url}\n",
        "commented.repo": f"#baseurl={url}\n",
    }.items():
        (folder / name).write_text(content)
    given = {"manager": "yum", "root": str(tmp_path), "repositories": order["repositories"], "keys": [],
             "displaced": order["displaced"]}  # fmt: skip
    assert len(sources.set_aside(given, check=True)) == 2 and (folder / "own.repo").exists()
    sources.set_aside(given, check=False)
    assert sorted(path.name for path in folder.iterdir()) == [
        "CentOS-Base.repo.disabled", "commented.repo", "nvidia-again.repo.disabled", "own.repo",
    ]  # fmt: skip
    assert sources.set_aside(given, check=False) == []


def test_centos_7_gets_the_vault_with_its_own_key_for_each_repository(key: Key) -> None:
    order = told("legacy-cuda11.6", "centos7", "", key)
    (content,) = text.files("yum", order["repositories"], [], [], []).values()
    assert content.count("gpgcheck=1") == content.count("[dsdeploy-") == 5
    assert "baseurl=https://vault.centos.org/7.9.2009/os/x86_64/" in content and "mirrorlist" not in content
    assert "gpgkey=file:///etc/pki/rpm-gpg/dsdeploy-epel7.asc" in content


@pytest.mark.parametrize(
    ("name", "left_alone"),
    [
        ("nvidia-open", True),
        ("libnvidia-compute-580", True),
        ("libcublas-13-0", True),
        ("cuda-nvcc-13-0", True),
        ("libcublas-13-01", False),
        ("libnvidia-container1", False),
        ("nvidia-container-toolkit", False),
        ("nginx", False),
    ],
)
def test_nightly_upgrades_leave_the_stack_alone_and_nothing_else(name: str, left_alone: bool, key: Key) -> None:
    order = told("cuda13", "ubuntu24.04", "", key)
    found = [text.expression(pattern, order["foreign_names"]) for pattern in order["held"]]
    assert any(re.match(one, name) for one in found) == left_alone
    assert bool(plan.held({name: "1"}, order["held"], order["foreign_names"])) == left_alone


def test_yum_gets_versions_locks_and_removals_in_its_own_words(key: Key, tmp_path: Path) -> None:
    order = told("legacy-cuda11.6", "centos7", "", key)
    said: list[list[str]] = []
    there = {"nvidia-driver-branch-535": ("3", "535.129.03-1.el7")}

    def run(command: list[str]) -> tuple[int, str, str]:
        said.append(command)
        if command[0] == "rpm":
            return 0, "".join(f"{n}\t{epoch}\t{v}\n" for n, (epoch, v) in there.items()), ""
        return 0, "nvidia-driver-branch-470.x86_64  3:470.256.02-1.el7  x\nnvidia-x.x86_64 3:470.57.02-1.el7 x", ""

    names = (order["unwanted"], order["driver"], order["family_names"], order["foreign_names"])
    manager = rpm.Rpm(run, "yum", order["driver"], order["flavour"], order["family_names"], root=str(tmp_path))
    work = plan.work(manager.installed(), order["steps"], *names)
    assert work.strays == ["nvidia-driver-branch-535"]
    manager.apply(work)
    words = [command for command in said if command[0] == "yum"]
    removed = next(n for n, command in enumerate(words) if "remove" in command)
    installed = next(n for n, command in enumerate(words) if "install" in command)
    assert removed < installed and "--allowerasing" not in words[installed]
    assert "nvidia-driver-branch-470-470.256.02*" in words[installed]
    assert "--setopt=skip_missing_names_on_install=0" in words[installed], "yum would leave out what it cannot find"
    said.clear()
    manager.rehearse(work)
    assert "--setopt=skip_missing_names_on_install=0" in said[-1] and "--downloadonly" in said[-1]
    assert "--exclude=*nvidia*-470.57.02-*" in words[installed]
    assert manager.hold({"nvidia-driver-branch-535": "535.129.03-1.el7"}, ["nvidia-driver-branch-535"])
    locks = (tmp_path / "etc/yum/pluginconfd/versionlock.list".replace("pluginconfd", "pluginconf.d")).read_text()
    assert "3:nvidia-driver-branch-535-535.129.03-1.el7.*" in locks


def test_a_driver_that_is_there_already_is_held_by_a_plugin_that_is_there_too(tmp_path: Path) -> None:
    """The list alone holds nothing: a host whose packages were right from the start had no plugin to read it."""
    folder = tmp_path / "etc/dnf/plugins"
    said: list[list[str]] = []

    def run(command: list[str]) -> tuple[int, str, str]:
        said.append(command)
        if "install" in command:
            (folder / "versionlock.conf").touch()
        return 0, "a\t0\t1-1\n", ""

    manager = rpm.Rpm(run, root=str(tmp_path))
    packages = manager.installed()
    folder.mkdir(parents=True)
    (folder / "versionlock.list").write_text("a-0:1-1.*\n")
    assert manager.unheld(packages, ["a"]) == ["a"]
    manager.hold(packages, ["a"])
    assert said[-1][-2:] == ["install", "python3-dnf-plugin-versionlock"]
    assert manager.unheld(packages, ["a"]) == [] and not manager.hold(packages, ["a"])
    assert sum("install" in command for command in said) == 1


def test_a_lock_list_keeps_what_is_somebody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "etc/dnf/plugins"
    folder.mkdir(parents=True)
    (folder / "versionlock.list").write_text("kernel-0:5.14.0-1.*\n")
    (folder / "versionlock.conf").write_text("[main]\nenabled=1\n")
    manager = rpm.Rpm(lambda _: (0, "a\t0\t1-1\n", ""), root=str(tmp_path))
    assert manager.hold(manager.installed(), ["a"]) and not manager.hold(manager.installed(), ["a"])
    assert manager.hold({}, [])
    lines = (folder / "versionlock.list").read_text().splitlines()
    assert lines[0] == "kernel-0:5.14.0-1.*" and "a-0:1-1.*" not in lines


def test_a_last_line_without_its_end_stays_a_line_of_somebody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "etc/dnf/plugins"
    folder.mkdir(parents=True)
    (folder / "versionlock.list").write_text("kernel-0:5.14.0-1.*")
    (folder / "versionlock.conf").write_text("[main]\nenabled=1\n")
    manager = rpm.Rpm(lambda _: (0, "a\t0\t1-1\n", ""), root=str(tmp_path))
    assert manager.hold(manager.installed(), ["a"]) and not manager.hold(manager.installed(), ["a"])
    lines = (folder / "versionlock.list").read_text().splitlines()
    assert lines[0] == "kernel-0:5.14.0-1.*" and "a-0:1-1.*" in lines


def test_yum_that_cannot_plan_with_what_it_removes_first_is_asked_for_each_package_alone(tmp_path: Path) -> None:
    said: list[list[str]] = []
    there = {"nvidia-fabricmanager-535": True, "nvidia-fabricmanager-999": False}

    def run(command: list[str]) -> tuple[int, str, str]:
        said.append(command)
        if "--downloadonly" in command:
            return 1, "", "Error: nvidia-fabricmanager-470 conflicts with nvidia-fabricmanager-535"
        if "list" in command and "--showduplicates" in command and "available" not in command:
            return (0, "", "") if there[command[-1].rsplit("-535.", 1)[0]] else (1, "", "Error: No matching Packages")
        return 0, "", ""

    manager = rpm.Rpm(run, "yum", "535.129.03", "proprietary", ["*nvidia*"], root=str(tmp_path))
    step = [{"name": "nvidia-fabricmanager-535", "version": "535.129.03*"}]
    old = plan.Work([step], [], ["nvidia-fabricmanager-470"])
    assert manager.rehearse(old) == ["install nvidia-fabricmanager-535-535.129.03*", "remove nvidia-fabricmanager-470"]
    with pytest.raises(apt.Refused, match="conflicts"):
        manager.rehearse(plan.Work([step]))  # nothing goes before: it is as yum says
    with pytest.raises(apt.Refused, match="No matching"):
        manager.rehearse(plan.Work([[{**step[0], "name": "nvidia-fabricmanager-999"}]], [], old.strays))
    assert not [command for command in said if "remove" in command]


@pytest.mark.parametrize(
    ("installed", "wanted", "same"),
    [
        ("580.178.04-1ubuntu1", "580.178.04-*", True),
        ("3:580.178.04-1.el9", "580.178.04*", True),
        ("580.178.041-1", "580.178.04*", False),
        ("580.178.04-1", "580.178.05-*", False),
        ("13.0.2-1", "13.0.2-1", True),
        ("anything", "*", True),
    ],
)
def test_versions_are_compared_whole(installed: str, wanted: str, same: bool) -> None:
    assert plan.matches(installed, wanted) == same


@pytest.mark.parametrize(
    ("said", "wanted", "holds"),
    [
        ("470.57.02\n470.57.02\n", "470.57.02", True),
        ("470.57.020", "470.57.02", False),
        ("Fabric Manager version is : 580.178.04", "580.178.04", True),
        ("Cuda compilation tools, release 12.8, V12.8.93", "release 12.8", True),
        ("Cuda compilation tools, release 12.80, V1", "release 12.8", False),
    ],
)
def test_a_version_is_found_as_a_whole_in_what_a_program_says(said: str, wanted: str, holds: bool) -> None:
    assert proof.holds(said, wanted) == holds


@pytest.mark.parametrize(
    ("loaded", "built", "nouveau", "said", "words"),
    [
        ("580.178.04", "580.178.04", False, "", ""),
        ("580.95.05", "580.178.04", False, "", "in memory is 580.95.05"),
        ("", "580.178.04", True, "", "nouveau"),
        ("", "580.178.04", False, "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service", "mokutil"),
        ("", "", False, "", "not in memory"),
    ],
)
def test_why_a_restart_is_needed_is_said(loaded: str, built: str, nouveau: bool, said: str, words: str) -> None:
    why = proof_module.restart(loaded, built, "580.178.04", nouveau, said)
    assert words in why and bool(why) == bool(words)


class Module:
    """What the packages module asks of Ansible: one unit runs, nothing else is there."""

    check_mode = False
    params: dict[str, Any] = {"serving": ["dsdeploy-engine@blue.service"], "rehearse": False}  # noqa: RUF012

    def get_bin_path(self, name: str) -> str:
        return f"/usr/bin/{name}"

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        return 0, "dsdeploy-engine@blue.service loaded active running\n", ""


def test_packages_are_not_touched_while_an_engine_runs() -> None:
    work = plan.Work(strays=["libnvidia-compute-535"])
    with pytest.raises(apt.Refused, match=r"dsdeploy-engine@blue.service runs and would lose its driver"):
        packages.change(Module(), None, work)
