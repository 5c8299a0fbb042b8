"""The role's modules as Ansible runs them, with what they ask of the host made up: what they refuse, and when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROLE, Key

packages = sys.modules["stack_packages"]
sources = sys.modules["stack_sources"]
proof = sys.modules["stack_proof"]
apt = sys.modules["ansible.module_utils.dsdeploy_stack_apt"]
plan = sys.modules["ansible.module_utils.dsdeploy_stack_plan"]

DRIVER = "580.178.04"
Answer = tuple[int, str, str]


class Failed(Exception):
    """What fail_json was told."""


class Host:
    """Stands in for AnsibleModule: `answers` gives what a program says by its name, and nothing else is there."""

    check_mode = False
    _diff = False

    def __init__(self, answers: dict[str, Answer], **params: Any) -> None:
        self.answers, self.params, self.told, self.ran = answers, params, {}, []  # type: ignore[var-annotated]

    def get_bin_path(self, name: str) -> str:
        return f"/usr/bin/{name}" if name in self.answers else ""

    def run_command(self, words: list[str], **_: Any) -> Answer:
        self.ran.append(words)
        return self.answers.get(Path(words[0]).name, (127, "", "not there"))

    def exit_json(self, **told: Any) -> None:
        self.told = told
        raise SystemExit(0)

    def fail_json(self, msg: str, **told: Any) -> None:
        raise Failed(msg)

    def run(self, module: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setattr(module, "AnsibleModule", lambda **_: self)
        with pytest.raises(SystemExit):
            module.main()
        return self.told


class Manager:
    """A package manager with an older driver installed, and nothing against the new one unless told so."""

    def __init__(self, no: str = "") -> None:
        self.no, self.did = no, []  # type: str, list[str]
        self.there = {"nvidia-open": "580.95.05-1"}

    def installed(self) -> dict[str, str]:
        return self.there

    def prepare(self) -> None:
        self.did.append("prepare")

    def rehearse(self, work: Any) -> list[str]:
        self.did.append("rehearse")
        if self.no:
            raise apt.Refused(self.no)
        return list(work.sentences())

    def apply(self, work: Any) -> None:
        self.did.append("apply")
        self.there = {"nvidia-open": f"{DRIVER}-1"}

    def unheld(self, *_: Any) -> list[str]:
        return []


def order(**more: Any) -> dict[str, Any]:
    return {
        "manager": "apt", "steps": [[{"name": "nvidia-open", "version": f"{DRIVER}-*"}]], "driver": DRIVER,
        "flavour": "open", "family": ["*nvidia*"], "held": ["*nvidia*"], "unwanted": [], "foreign": [], "stream": "",
        "headers": False, "serving": ["dsdeploy-engine@blue.service"], "rehearse": False, **more,
    }  # fmt: skip


SERVES = {"systemctl": (0, "dsdeploy-engine@blue.service loaded active running\n", "")}
IDLE = {"systemctl": (0, "", "")}


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Manager:
    made = Manager()
    monkeypatch.setattr(packages, "backend", lambda _: made)
    return made


def test_a_rehearsal_asks_for_everything_on_a_host_that_serves_and_changes_nothing(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Host(SERVES, **order(rehearse=True)).run(packages, monkeypatch)
    assert (told["changed"], told["packages_changed"], manager.did) == (False, False, ["prepare", "rehearse"])
    assert told["done"] == [f"install nvidia-open {DRIVER}-*"]
    manager.no = "kernel-devel-4.18.0 cannot be had"
    with pytest.raises(Failed, match="headers are gone from the repositories"):
        Host(SERVES, **order(rehearse=True)).run(packages, monkeypatch)


def test_packages_change_where_no_engine_runs_and_where_that_cannot_be_told_they_do_not(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = {"systemctl": (1, "", "Failed to connect to bus")}
    with pytest.raises(Failed, match=r"whether an engine runs cannot be told.*Failed to connect to bus"):
        Host(silent, **order()).run(packages, monkeypatch)
    with pytest.raises(Failed, match="would lose its driver"):
        Host(SERVES, **order()).run(packages, monkeypatch)
    assert manager.did == []
    assert Host(IDLE, **order()).run(packages, monkeypatch)["changed"] is True
    assert manager.did == ["prepare", "rehearse", "apply"]


REJECTED = "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service\n"


def proven(monkeypatch: pytest.MonkeyPatch, built: str, modprobe: Answer, sources: str = "", **more: Any) -> Any:
    """The proof on a host with no module in memory."""
    monkeypatch.setattr(proof, "text", lambda path: "")
    monkeypatch.setattr(proof, "glob", lambda pattern: [f"/usr/src/{sources}"] if sources else [])
    params = {"checks": [], "driver": DRIVER, "load": True, "booted": False, **more}
    return Host({"modinfo": (0, built, ""), "modprobe": modprobe}, **params).run(proof, monkeypatch)


def test_a_module_that_dkms_could_not_build_is_wrong_and_the_log_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for sources in (f"nvidia-{DRIVER}", f"nvidia-open-{DRIVER}"):
        log = rf"/var/lib/dkms/{sources[: -len(DRIVER) - 1]}/{DRIVER}/build/make\.log"
        with pytest.raises(Failed, match=f"DKMS has built no module.*{log}"):
            proven(monkeypatch, "", (1, "", ""), sources)
    # modules that come built have no sources, and a machine of the tests has neither
    assert "not in memory" in proven(monkeypatch, "", (1, "", ""))["restart"]


def test_a_module_that_secure_boot_refuses_fails_at_once_and_is_not_restarted_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Failed, match="mokutil --import"):
        proven(monkeypatch, DRIVER, (1, "", REJECTED))
    assert "No such device" in proven(monkeypatch, DRIVER, (1, "", "No such device"))["restart"]


def named(folder: Path, **more: Any) -> dict[str, Any]:
    """What the sources module is told on an EL host."""
    repository = {"name": "cuda-rhel9", "title": "x", "url": "http://192.0.2.1/cuda/", "key": "nvidia"}
    return {
        "manager": "dnf", "root": str(folder), "repositories": [repository], "pins": [], "held": [], "foreign": [],
        "displaced": ["cuda*.repo"], "components": [],
        "keys": [{"name": "nvidia", "url": (folder / "KEY").as_uri(), "fingerprint": "A" * 40, "replaces": ""}], **more,
    }  # fmt: skip


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_key_that_cannot_be_had_leaves_the_hosts_sources_as_they_are(
    tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "etc/yum.repos.d/cuda-rhel9.repo"
    there.parent.mkdir(parents=True)
    there.write_text("[cuda]\nbaseurl=http://192.0.2.1/cuda/\n")
    second = {"name": "epel", "url": (tmp_path / "none").as_uri(), "fingerprint": key.fingerprint, "replaces": ""}
    (tmp_path / "KEY").write_text(key.public)
    given = named(tmp_path)
    given["keys"] = [{**given["keys"][0], "fingerprint": key.fingerprint}, second]
    before = tree(tmp_path)
    with pytest.raises(Failed, match="the key epel cannot be had"):
        Host({}, **given).run(sources, monkeypatch)
    assert tree(tmp_path) == before
    given["keys"] = given["keys"][:1]
    made = Host({}, **given).run(sources, monkeypatch)["made"]
    assert made[-1] == str(there) and not there.exists() and there.with_suffix(".repo.disabled").exists()


def test_a_folder_for_keys_can_be_read_by_apts_own_user_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        sources.write(str(tmp_path), "/etc/apt/keyrings/dsdeploy-nvidia.gpg", b"key")
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_dir()}
    assert modes == {0o755} and (tmp_path / "etc/apt/keyrings/dsdeploy-nvidia.gpg").stat().st_mode & 0o777 == 0o644


def test_an_early_userland_that_could_not_be_made_is_made_by_the_next_run(tmp_path: Path) -> None:
    told = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    (task,) = [
        one for one in yaml.safe_load((ROLE / "tasks/kernel.yml").read_text()) if "early userland" in one["name"]
    ]
    assert task["ansible.builtin.command"]["creates"] == "{{ __stack_early_stamp }}"
    stamp, program = tmp_path / "stamp", tmp_path / "update-initramfs"

    def make() -> tuple[int, str]:
        words = ["sh", "-c", told["__stack_early"], "sh", str(stamp), "update-initramfs", "-u", "-k", "all"]
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(words, capture_output=True, text=True, env=path, check=False)
        return done.returncode, done.stdout

    program.write_text("#!/bin/sh\necho 'no space left' >&2; exit 2\n")
    program.chmod(0o755)
    assert make() == (2, "") and not stamp.exists(), "2 is a failure, not an absent program"
    program.write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/asked\n')
    assert make() == (0, "made\n") and stamp.exists()
    assert (tmp_path / "asked").read_text() == "-u -k all\n"
