"""The shell that runs on hosts: it is good shell, it ends with its connection, and it says how it ended."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from dsdeploy.fabric import commands

SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
SCRIPTS = {
    "write_server": commands.write_server("mlx5_0", 1, 18600, 3, 0),
    "write_client": commands.write_client("mlx5_0", 1, 18600, None, None, "10.0.0.21"),
    "all_reduce_here": commands.all_reduce_here((0, 1), {"NCCL_DEBUG": "it's"}),
    "all_reduce_among": commands.all_reduce_among(1, 2, "[fd00::1]:18600", (0,), {"NCCL_IB_HCA": "=mlx5_0:1"}),
    "diagnose": commands.diagnose(),
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_is_good_shell(shell: str, name: str) -> None:
    for text in (SCRIPTS[name], commands.guarded(SCRIPTS[name], 5), commands.guarded(SCRIPTS[name], 5, told=True)):
        done = subprocess.run([shell, "-n", "-c", text], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("command", "status"), [("echo said; exit 3", 3), ("echo said >&2", 0), ("sleep 60", 124)])
def test_how_it_ended_is_its_last_word(shell: str, command: str, status: int) -> None:
    process = subprocess.Popen(
        [shell, "-c", commands.guarded(command, 1)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout and process.stdin
        said = process.stdout.read()  # ends although stdin is still open
        process.stdin.close()
    found, _ = commands.answered(said)
    assert found == status
    assert ("said" in said) == (status != 124)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("secret", ["0123abcd", "it's $(reboot) `x`"])
def test_what_a_command_is_told_comes_whole_and_is_in_no_list_of_processes(shell: str, secret: str) -> None:
    words = "IFS= read -r line; printf '== told\\n%s\\n== listed\\n' \"$line\"; cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    process = subprocess.Popen(
        [shell, "-c", commands.guarded(words, 20, told=True)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout and process.stdin
        process.stdin.write(f"{secret}\n")
        process.stdin.flush()
        status, parts = commands.answered(process.stdout.read())
        process.stdin.close()
    assert (status, parts["told"]) == (0, secret)
    assert "IFS= read" in parts["listed"] and secret not in parts["listed"]


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.is_file() and "State:\tZ" not in status.read_text()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_lost_connection_ends_what_runs_and_what_that_started(shell: str, tmp_path: Path) -> None:
    """Standard input ends, as it does when the SSH channel closes for whatever reason."""
    pids = tmp_path / "pids"
    command = f"sleep 300 & echo $! >{pids}; echo $$ >>{pids}; mv {pids} {pids}.done; wait"
    process = subprocess.Popen(
        [shell, "-c", commands.guarded(command, 300)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        done = Path(f"{pids}.done")
        limit = time.monotonic() + 30
        while not done.exists() and time.monotonic() < limit:
            time.sleep(0.02)
        started = [int(pid) for pid in done.read_text().split()]
        assert len(started) == 2 and all(map(alive, started))
        assert process.stdin
        process.stdin.close()
        process.wait(timeout=30)
    limit = time.monotonic() + 30
    while any(map(alive, started)) and time.monotonic() < limit:
        time.sleep(0.02)
    assert not any(map(alive, started))


def test_an_answer_cut_off_before_its_end_has_no_status() -> None:
    assert commands.answered("== json\n{\n")[0] is None


def test_values_of_the_site_file_are_words_and_never_shell() -> None:
    text = commands.write_client("x;reboot", 1, 1, None, None, "$(reboot)")
    assert "'x;reboot'" in text and "'$(reboot)'" in text
