"""Plays from one process that has imported Ansible: as many as one likes, with nothing in common but that."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dsdeploy import control, paths, playbook, warm
from dsdeploy.errors import HostUnreachable, PlaybookFailed
from dsdeploy.playbook import Play
from dsdeploy.runs import Run

INVENTORY = f"""
all:
  hosts:
    here: {{ansible_connection: local, ansible_python_interpreter: {sys.executable}}}
    dead: {{ansible_host: 127.0.0.1, ansible_port: 1, ansible_ssh_common_args: -o BatchMode=yes}}
"""
HOSTS = "- hosts: all\n  tasks:\n"
TRUE = HOSTS + "    - ansible.builtin.command: 'true'\n"
SLEEP = HOSTS + "    - ansible.builtin.command: sleep 300\n"
FAIL = HOSTS + "    - ansible.builtin.fail: {msg: no}\n"
TELL = "{{ lookup('env', 'TRIAL') | default('none', true) }} {{ lookup('pipe', 'echo $PPID') }}"
NOTE = "from here on each play imports Ansible by itself"
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "callback_plugins").symlink_to(paths.PLAYBOOKS / "callback_plugins")
    (tmp_path / "playbooks" / "ansible.cfg").write_text((paths.PLAYBOOKS / "ansible.cfg").read_text())
    monkeypatch.setattr(paths, "PLAYBOOKS", tmp_path / "playbooks")
    (tmp_path / "inventory.yml").write_text(INVENTORY)
    return tmp_path


@pytest.fixture
def kept(folder: Path) -> Iterator[warm.Warm]:
    with warm.kept(folder):
        yield warm._kept[folder]


def play(folder: Path, text: str, name: str = "trial", limit: str = "here") -> playbook.events.Outcome:
    (folder / "playbooks" / f"{name}.yml").write_text(text)
    return playbook.run(Play(name, folder / "inventory.yml", limit=(limit,)), Run("r", folder), folder)


def begun(folder: Path, text: str, name: str = "trial") -> warm.Playing:
    """A play that nobody follows yet."""
    (folder / "playbooks" / f"{name}.yml").write_text(text)
    words = playbook.command(Play(name, folder / "inventory.yml", limit=("here",)))[3:]
    environment = playbook.environment(folder / f"{name}.jsonl", folder)
    process = warm.start(folder, words, environment, folder / f"{name}.log")
    assert process
    return process


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def test_two_plays_from_one_process_each_with_its_own_log_and_events(folder: Path, kept: warm.Warm) -> None:
    first = play(folder, TRUE, "one")
    process = kept.pid
    second = play(folder, TRUE, "two")
    assert (first.changed, second.changed, kept.pid, kept.failed) == (1, 1, process, False)
    assert all((folder / f"{name}.log").read_text().count("PLAY RECAP") == 1 for name in ("one", "two"))


def test_plays_at_the_same_time_do_not_mix(folder: Path, kept: warm.Warm) -> None:
    names = ["one", "two", "three"]
    texts = {name: HOSTS + f"    - ansible.builtin.debug: {{msg: {name}}}\n" for name in names}
    outcomes = playbook.together([partial(play, folder, texts[name], name) for name in names])
    assert [outcome.notices for outcome in outcomes] == [(f"here: {name}",) for name in names]
    assert not kept.failed


@pytest.mark.parametrize(
    ("text", "limit", "raised", "code"),
    [(TRUE, "here", None, 0), (FAIL, "here", PlaybookFailed, 2), (TRUE, "dead", HostUnreachable, 4)],
)
def test_the_exit_code_is_ansibles(
    folder: Path, kept: warm.Warm, text: str, limit: str, raised: type[Exception] | None, code: int
) -> None:
    started: list[warm.Playing] = []
    real = warm.start

    def start(*asked: object) -> warm.Playing | None:
        started.append(real(*asked))  # type: ignore[arg-type]
        return started[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm, "start", start)
        try:
            play(folder, text, limit=limit)
        except (PlaybookFailed, HostUnreachable) as error:
            assert raised and isinstance(error, raised)
    assert [process.returncode for process in started] == [code]


def test_a_play_that_is_killed_is_reported_and_the_next_one_runs(folder: Path, kept: warm.Warm) -> None:
    process = begun(folder, SLEEP)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    assert play(folder, TRUE).changed == 1
    assert not kept.failed


def test_a_wait_ends_where_the_play_does_not(folder: Path, kept: warm.Warm) -> None:
    process = begun(folder, SLEEP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    playbook._end(process)
    assert process.returncode and process.returncode != 0


@needs_proc
def test_a_play_that_nobody_can_follow_any_more_is_ended(folder: Path, kept: warm.Warm) -> None:
    process = begun(folder, SLEEP)
    process._told.close()
    assert gone(process.pid, 20)
    assert play(folder, TRUE).changed == 1


def test_what_one_play_has_in_its_environment_the_next_has_not(
    folder: Path, kept: warm.Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = HOSTS + f'    - ansible.builtin.debug: {{msg: "{TELL}"}}\n'
    play(folder, TRUE)
    monkeypatch.setenv("TRIAL", "secret")
    first = play(folder, tell).notices[0].split()
    monkeypatch.delenv("TRIAL")
    second = play(folder, tell).notices[0].split()
    assert (first[1], second[1]) == ("secret", "none")
    assert not kept.failed


def test_settings_that_ansible_reads_at_its_import_are_never_those_of_another_play(
    folder: Path, kept: warm.Warm
) -> None:
    assert begun(folder, TRUE).wait(60) == 0
    environment = playbook.environment(folder / "trial.jsonl", folder) | {"ANSIBLE_CONFIG": "/other"}
    assert warm.start(folder, ["playbook"], environment, folder / "trial.log") is None
    assert not kept.failed


def test_random_numbers_and_ids_of_tasks_differ_between_plays(folder: Path, kept: warm.Warm) -> None:
    text = (
        HOSTS
        + "    - ansible.builtin.debug: {msg: \"{{ 10 ** 12 | random }} {{ lookup('password', '/dev/null') }}\"}\n"
    )
    said = [play(folder, text, name).notices for name in ("one", "two")]
    assert said[0] != said[1]


@needs_proc
@pytest.mark.parametrize("program", ["import sys; sys.exit('it cannot be')", "import time; time.sleep(600)"])
def test_where_it_cannot_be_started_plays_are_all_the_same(
    folder: Path, kept: warm.Warm, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(program)
    monkeypatch.setattr(warm, "PROGRAM", tmp_path / "broken.py")
    monkeypatch.setattr(warm, "FIRST_SECONDS", 2.0)
    assert [play(folder, TRUE).changed for _ in range(2)] == [1, 1]
    assert (folder / "trial.log").read_text().count(NOTE) == 1


def test_where_it_is_killed_the_next_play_starts_by_itself(folder: Path, kept: warm.Warm) -> None:
    play(folder, TRUE)
    assert kept.pid
    os.kill(kept.pid, signal.SIGKILL)
    assert [play(folder, TRUE).changed for _ in range(2)] == [1, 1]
    assert (folder / "trial.log").read_text().count(NOTE) == 1


@needs_proc
def test_where_it_is_killed_its_plays_end_and_are_reported(folder: Path, kept: warm.Warm) -> None:
    process = begun(folder, SLEEP)
    assert kept.pid
    os.kill(kept.pid, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    assert gone(process.pid, 20)


CONTROLLER = """
import json, sys, time
from pathlib import Path
from dsdeploy import paths, warm
from tests import test_warm
folder = Path(sys.argv[1])
paths.PLAYBOOKS = folder / "playbooks"
with warm.kept(folder):
    process = test_warm.begun(folder, test_warm.SLEEP)
    print(json.dumps([warm._kept[folder].pid, process.pid]), flush=True)
    time.sleep(600)
"""


@needs_proc
def test_it_and_its_plays_are_gone_when_the_controller_was_killed(folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, "-c", CONTROLLER, str(folder)]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as controller:
        assert controller.stdout
        pids = json.loads(controller.stdout.readline())
        assert all(alive(pid) for pid in pids)
        controller.kill()
        # a second is what it takes at most on a computer that has nothing else to do
        assert all(gone(pid, 10) for pid in pids)


@needs_proc
def test_nothing_is_left_behind_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = folder / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with control.connections() as where:
        copy = f"{{content: x, dest: '{folder}/x', mode: '0600'}}"
        text = HOSTS + f"    - ansible.builtin.copy: {copy}\n"
        (folder / "playbooks" / "trial.yml").write_text(text)
        trial = Play("trial", folder / "inventory.yml", limit=("here",))
        assert playbook.run(trial, Run("r", folder), where).changed == 1
        process = warm._kept[where].pid
        assert process and not list((where / "tmp").glob("*/*"))  # what a play has, goes with the play
    assert list(temporary.iterdir()) == []
    assert not alive(process)
