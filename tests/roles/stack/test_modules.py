"""The role's modules as Ansible runs them, with what they ask of the host made up: what they refuse, and when."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

packages = sys.modules["stack_packages"]
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
