"""A restic that cannot do what the site asks is refused by name, with the cure: the role's own tasks, run here."""

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
    - ansible.builtin.import_role: {{name: backup, tasks_from: version}}
      vars:
        __backup_search: "{search}"
        __backup_installed: {{msg: No package restic available.}}
        backup_offsite: "{offsite}"
"""


@pytest.fixture
def search(tmp_path: Path) -> Path:
    """The folder where restic is looked for."""
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def refused(search: Path, offsite: str, *more: str) -> str:
    """What Ansible says when it refuses, "" when it does not."""
    play = search.parent / "play.yml"
    play.write_text(PLAY.format(search=search, offsite=offsite))
    environment = {**os.environ, "ANSIBLE_ROLES_PATH": str(ROLES), "ANSIBLE_LOCALHOST_WARNING": "false",
                   "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(search.parent)}  # fmt: skip
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-e",
            f"ansible_python_interpreter={sys.executable}", str(play), *more]  # fmt: skip
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ("failed=0" in done.stdout), done.stdout + done.stderr
    return "" if done.returncode == 0 else " ".join(done.stdout.split())


def restic(search: Path, version: str) -> None:
    (search / "restic").write_text(f"#!/bin/sh\necho 'restic {version} compiled with go1.18.1 on linux/amd64'\n")
    (search / "restic").chmod(0o755)


def test_one_that_cannot_copy_is_refused_where_there_is_an_offsite(search: Path) -> None:
    restic(search, "0.12.1")
    said = refused(search, "/srv/offsite")
    assert "restic 0.12.1 is too old for backup.offsite" in said and "/usr/local/bin/restic" in said
    assert refused(search, "") == ""


def test_one_that_can_is_not(search: Path) -> None:
    restic(search, "0.14.0")
    assert refused(search, "/srv/offsite") == ""


def test_none_at_all_names_where_it_is_to_be_had(search: Path) -> None:
    said = refused(search, "")
    assert "No package restic available." in said and "epel-release" in said
    assert refused(search, "", "--check") == ""
