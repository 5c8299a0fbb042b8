"""Each verb reaches exactly its function, and errors become exit codes and three lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsdeploy import __main__ as entry
from dsdeploy.errors import DsdeployError, GateError, HostUnreachable, LockHeld, Problem, SiteError

ROOT = Path(__file__).resolve().parent.parent
CALLS = [
    (["init", "x.yml"], "init", "init"),
    (["schema"], "schema", "schema"),
    (["stacks", "cuda13", "--json"], "stacks", "stacks"),
    (["inventory", "x.yml"], "inventory", "inventory"),
    (["check", "x.yml"], "check", "check"),
    (["plan", "x.yml", "--json"], "plan", "plan"),
    (["up", "x.yml", "--check"], "plan", "plan"),
    (["up", "x.yml", "--yes", "--only", "weights"], "up", "up"),
    (["status", "x.yml"], "status", "status"),
    (["verify", "x.yml", "--deep"], "verify", "verify"),
]


@pytest.mark.parametrize(
    ("argv", "module", "function"), CALLS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_each_verb_reaches_its_function(
    argv: list[str], module: str, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[tuple[Any, ...]] = []
    monkeypatch.setattr(f"dsdeploy.commands.{module}.{function}", lambda *a, **k: reached.append((a, k)) or 7)
    assert entry.run(argv) == 7
    assert len(reached) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DsdeployError("x"), 1),
        (SiteError([Problem("x")]), 2),
        (HostUnreachable([Problem("x")]), 4),
        (GateError("x"), 5),
        (LockHeld("x"), 75),
        (KeyboardInterrupt(), 130),
        (RuntimeError("boom"), 3),
    ],
)
def test_an_error_becomes_its_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("dsdeploy.commands.schema.schema", fails)
    assert entry.run(["schema"]) == code
    crashes = list(tmp_path.rglob("*.md"))
    assert len(crashes) == (1 if code == 3 else 0)


def test_an_unknown_verb_is_usage() -> None:
    assert entry.run(["fly"]) == 2


def test_a_hint_names_the_site_file_of_this_call(capsys: pytest.CaptureFixture[str]) -> None:
    entry.report(DsdeployError("broken", "host gpu1", "dsdeploy up SITE"), ["up", "my site.yml"])
    shown = capsys.readouterr().err
    assert shown.splitlines() == ["error: broken", "   at: host gpu1", "  try: dsdeploy up 'my site.yml'"]


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    entry.report(DsdeployError("broken", "host gpu1", "dsdeploy up SITE"), ["up", "s.yml", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["problems"] == [{"error": "broken", "at": "host gpu1", "try": "dsdeploy up s.yml"}]


def test_help_loads_neither_ansible_nor_pyinfra() -> None:
    code = (
        "import sys; from dsdeploy import __main__ as m; assert m.run(['--help']) == 0;"
        "assert not {'ansible', 'pyinfra', 'paramiko', 'kazoo', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


def test_a_closed_pipe_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "dsdeploy", "schema"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=False,
    )
    os.close(writer)
    assert "Traceback" not in done.stderr and done.returncode in (0, 1)


def test_every_stage_can_be_asked_for_alone() -> None:
    from dsdeploy import cli, converge

    assert list(cli.STAGES) == list(converge.ONE)
