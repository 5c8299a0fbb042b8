"""The argv and environment of ansible-playbook, and what its end means."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from dsdeploy import paths, playbook, warm
from dsdeploy.errors import Fenced, HostUnreachable, PlaybookFailed
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


@pytest.fixture(params=["plain", "warm"])
def way(request: pytest.FixtureRequest) -> str:
    """How plays are started: each by a process of its own, or from one that has imported Ansible."""
    return str(request.param)


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> Iterator[Path]:
    folder = tmp_path / "playbooks"
    folder.mkdir()
    (folder / "callback_plugins").symlink_to(paths.PLAYBOOKS / "callback_plugins")
    config = (paths.PLAYBOOKS / "ansible.cfg").read_text()
    (folder / "ansible.cfg").write_text(config.replace("../roles", str(paths.ROLES)))
    monkeypatch.setattr(paths, "PLAYBOOKS", folder)
    (tmp_path / "inventory.yml").write_text(INVENTORY)
    with warm.kept(tmp_path) if way == "warm" else nullcontext():
        yield tmp_path


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


SLEEP = "- hosts: all\n  tasks:\n    - ansible.builtin.command: sleep 300\n"
CONTROLLER = """
import sys
from contextlib import nullcontext
from pathlib import Path
from dsdeploy import paths, playbook, warm
from dsdeploy.runs import Run
folder = Path(sys.argv[1])
paths.PLAYBOOKS = folder / "playbooks"
with warm.kept(folder) if sys.argv[2] == "warm" else nullcontext():
    playbook.run(playbook.Play("trial", folder / "inventory.yml", limit=("here",)), Run("r", folder), folder)
"""
ANSIBLE = {"plain": b"ansible\0playbook\0", "warm": b"ansible-playboo\n"}  # how it is called among the processes
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")


def of_play(folder: Path) -> Iterator[tuple[int, bytes]]:
    """Process and name of all that a play in this folder started here, whatever session it is in.

    Each has the play's environment from its start; or was forked in it, then it has the play's files open.
    """
    mark, log, stream = f"DSDEPLOY_EVENTS={folder}/".encode(), folder / "trial.log", folder / "trial.jsonl"
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            marked = mark in (entry / "environ").read_bytes()
            open_ = {handle.readlink() for handle in (entry / "fd").iterdir()} if not marked else set()
            writes = log in open_ or (stream in open_ and b"stage.py" in (entry / "cmdline").read_bytes())
            if (marked or writes) and "\nState:\tZ" not in (entry / "status").read_text():
                yield int(entry.name), (entry / "comm").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue


def until_it_sleeps(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not any(line.startswith(b"sleep\nsleep\0") for _, line in of_play(folder)):
        assert time.monotonic() < deadline, "the play never came to its task"
        time.sleep(0.05)


def left(folder: Path) -> list[tuple[int, bytes]]:
    """What still runs when all had time to see the end."""
    deadline = time.monotonic() + 20
    while (running := list(of_play(folder))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return running


@needs_proc
@pytest.mark.parametrize("victim", ["controller", "ansible"])
def test_nothing_is_left_of_a_play_when_its_controller_or_ansible_is_killed(
    started: Path, victim: str, way: str
) -> None:
    play(started, SLEEP, "here")
    words = [sys.executable, "-c", CONTROLLER, str(started), way]
    environment = os.environ | {"PYTHONPATH": str(Path(playbook.__file__).parents[1])}
    controller = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    try:
        until_it_sleeps(started)
        ansible = min(pid for pid, line in of_play(started) if ANSIBLE[way] in line)
        os.kill(controller.pid if victim == "controller" else ansible, signal.SIGKILL)
        assert left(started) == []
    finally:
        for pid in (controller.pid, *(pid for pid, _ in of_play(started))):
            os.kill(pid, signal.SIGKILL)
        controller.wait()


@needs_proc
def test_an_interrupt_ends_the_play_and_all_its_processes(started: Path) -> None:
    def interrupt(event: object) -> None:
        until_it_sleeps(started)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        playbook.run(*play(started, SLEEP, "here"), started, interrupt)
    assert left(started) == []


def test_a_terminals_interrupt_does_not_reach_ansible(started: Path) -> None:
    text = "- hosts: all\n  tasks:\n    - ansible.builtin.command: sleep 1\n"
    sessions: list[int] = []

    def look(event: dict[str, object]) -> None:
        if event["event"] == "task":  # at its last event it may have ended already
            sessions.extend(os.getsid(process.pid) for process in playbook._playing)

    playbook.run(*play(started, text, "here"), started, look)
    assert sessions and os.getsid(0) not in sessions


FENCED = "fenced: here has seen epoch 43 of run b; this is epoch 42 of run a\\ntry: dsdeploy status SITE"


def test_a_fenced_host_ends_the_play_as_overtaken(started: Path) -> None:
    text = f'- hosts: all\n  tasks:\n    - ansible.builtin.fail: {{msg: "{FENCED}"}}\n'
    with pytest.raises(Fenced) as caught:
        playbook.run(*play(started, text, "here"), started)
    assert caught.value.what == "fenced: here has seen epoch 43 of run b; this is epoch 42 of run a"
    assert (caught.value.hint, caught.value.exit_code) == ("dsdeploy status SITE", 75)


@needs_proc
def test_of_two_plays_the_fenced_one_ends_the_other(started: Path) -> None:
    def fenced() -> playbook.events.Outcome:
        until_it_sleeps(started)
        raise Fenced("fenced: elsewhere")

    with pytest.raises(Fenced):
        playbook.together([partial(playbook.run, *play(started, SLEEP, "here"), started), fenced])
    assert left(started) == []
