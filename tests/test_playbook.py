"""The argv and environment of ansible-playbook, and what its end means."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dsdeploy import paths, playbook
from dsdeploy.errors import HostUnreachable, PlaybookFailed
from dsdeploy.playbook import Play
from dsdeploy.runs import Run

INVENTORY = f"""
all:
  hosts:
    here: {{ansible_connection: local, ansible_python_interpreter: {sys.executable}}}
    dead: {{ansible_host: 127.0.0.1, ansible_port: 1, ansible_ssh_common_args: -o BatchMode=yes}}
"""


def test_the_command_is_data() -> None:
    play = Play("prep", Path("/r/inventory.yml"), limit=("gpu1", "gpu2"), verbosity=2)
    assert playbook.command(play)[1:] == [
        "-m", "ansible", "playbook", "--inventory", "/r/inventory.yml", "--limit", "gpu1,gpu2", "-vv",
        str(paths.PLAYBOOKS / "prep.yml"),
    ]  # fmt: skip


def test_the_operators_ansible_settings_do_not_leak_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "False")
    environment = playbook.environment(Path("/r/e.jsonl"), Path("/t"))
    assert "ANSIBLE_HOST_KEY_CHECKING" not in environment
    assert environment["ANSIBLE_CONFIG"] == str(paths.PLAYBOOKS / "ansible.cfg")


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "playbooks"
    folder.mkdir()
    (folder / "callback_plugins").symlink_to(paths.PLAYBOOKS / "callback_plugins")
    config = (paths.PLAYBOOKS / "ansible.cfg").read_text()
    (folder / "ansible.cfg").write_text(config.replace("../roles", str(paths.ROLES)))
    monkeypatch.setattr(paths, "PLAYBOOKS", folder)
    (tmp_path / "inventory.yml").write_text(INVENTORY)
    return tmp_path


def play(folder: Path, text: str, limit: str) -> tuple[Play, Run]:
    (folder / "playbooks" / "trial.yml").write_text(text)
    return Play("trial", folder / "inventory.yml", limit=(limit,)), Run("r", folder)


def test_a_play_reports_what_it_changed(started: Path) -> None:
    text = "- hosts: all\n  tasks:\n    - ansible.builtin.command: 'true'\n    - ansible.builtin.debug: {msg: hi}\n"
    seen: list[str] = []
    outcome = playbook.run(*play(started, text, "here"), started, lambda event: seen.append(event["event"]))
    assert (outcome.changed, outcome.ok) == (1, 1)
    assert seen.count("result") == 2


def test_a_failed_task_names_host_and_reason(started: Path) -> None:
    text = '- hosts: all\n  tasks:\n    - ansible.builtin.fail: {msg: "disk full\\ntry: free some"}\n'
    with pytest.raises(PlaybookFailed) as caught:
        playbook.run(*play(started, text, "here"), started)
    assert caught.value.problems[0].what == "here: disk full"
    assert caught.value.problems[0].hint == "free some"


def test_a_dead_host_is_unreachable_not_failed(started: Path) -> None:
    text = "- hosts: all\n  tasks:\n    - ansible.builtin.command: 'true'\n"
    with pytest.raises(HostUnreachable) as caught:
        playbook.run(*play(started, text, "dead"), started)
    assert "dead" in caught.value.problems[0].what


def test_a_pattern_that_matches_nothing_is_an_error_not_a_success(started: Path) -> None:
    text = "- hosts: nobody\n  tasks:\n    - ansible.builtin.command: 'true'\n"
    with pytest.raises(PlaybookFailed):
        playbook.run(*play(started, text, "here"), started)


def test_all_plays_of_a_pair_end_before_the_first_failure_is_raised() -> None:
    done: list[str] = []

    def fails() -> playbook.events.Outcome:
        raise PlaybookFailed([playbook.events.unexplained("x", 1, Path("/dev/null"))])

    def works() -> playbook.events.Outcome:
        done.append("w")
        return playbook.events.Outcome(changed=1)

    with pytest.raises(PlaybookFailed):
        playbook.together([fails, works])
    assert done == ["w"]
