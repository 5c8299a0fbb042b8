"""`backup list` asks the program on the host with a Python that can run it, wherever that lies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dsdeploy.facts import backups, interpreter


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As on EL8: /usr/bin/python3 is there and too old. The program tells which Python runs it."""
    home = tmp_path / "home" / "dsdeploy_backup"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("")
    (home / "__main__.py").write_text(
        "import json, os, sys\nprint(json.dumps({'newest': os.environ['CHOSEN'], 'problem': ' '.join(sys.argv[1:])}))\n"
    )
    monkeypatch.setattr(backups, "HOME", str(home.parent))
    monkeypatch.setattr(interpreter, "PATHS", tuple(str(tmp_path / name) for name in ("usual", "absent", "other")))
    python(tmp_path, "usual", "exit 1")
    return tmp_path


def python(folder: Path, name: str, does: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{does}\n")
    (folder / name).chmod(0o755)


def asked(folder: Path) -> backups.Backups:
    fact = backups.BackupsFact()
    done = subprocess.run(["sh", "-c", fact.command()], capture_output=True, text=True, check=False, cwd=folder)
    return fact.process(done.stdout.splitlines())


def test_one_that_is_too_old_is_passed_over(host: Path) -> None:
    python(host, "other", f'CHOSEN=other exec {sys.executable} "$@"')
    assert (asked(host).newest, asked(host).problem) == ("other", "--json list")


def test_the_usual_one_is_taken_where_it_will_do(host: Path) -> None:
    python(host, "usual", f'CHOSEN=usual exec {sys.executable} "$@"')
    python(host, "other", f'CHOSEN=other exec {sys.executable} "$@"')
    assert asked(host).newest == "usual"


def test_where_none_will_do_there_is_no_answer_and_no_shell_error(host: Path) -> None:
    assert "no backup program is here" in asked(host).problem
