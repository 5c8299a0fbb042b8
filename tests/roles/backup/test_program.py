"""What the operator is told of a program that ended on the host without a word: the role's own tasks, run here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROLES = Path(__file__).resolve().parents[3] / "roles"
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {{name: backup, tasks_from: program}}
      vars:
        __backup_command: ["{program}"]
        backup_words: [run]
"""


def told(folder: Path, script: str) -> str:
    """What Ansible says of a program that is this script, which ends badly."""
    program, play = folder / "program", folder / "play.yml"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    play.write_text(PLAY.format(program=program))
    environment = {
        **os.environ, "ANSIBLE_ROLES_PATH": str(ROLES), "ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(folder), "ANSIBLE_ASYNC_DIR": str(folder / "async"),
    }  # fmt: skip
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-e",
            f"ansible_python_interpreter={sys.executable}", str(play)]  # fmt: skip
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "failed=1" in done.stdout, done.stdout + done.stderr
    return " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo restoring 1a2b >&2; kill -KILL $$", "killed on the host (signal 9), the last it said: restoring 1a2b"),
        ("kill -TERM $$", "killed on the host (signal 15), the last it said: nothing"),
    ],
)
def test_one_that_was_killed_is_not_taken_for_its_last_words(tmp_path: Path, script: str, words: str) -> None:
    said = told(tmp_path, script)
    assert words in said and "try: the same command again" in said


def test_its_own_words_come_first(tmp_path: Path) -> None:
    said = told(tmp_path, """echo '{"ok": false, "what": "no room", "hint": "df -h"}'; exit 1""")
    assert "no room\\ntry: df -h" in said and "killed" not in said
