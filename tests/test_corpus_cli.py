"""Every bad site file through the command line: exit 2, three-line errors, nothing touched."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from dsdeploy import __main__ as entry

ROOT = Path(__file__).resolve().parent.parent
CORPUS = runpy.run_path(str(ROOT / "tests" / "corpus" / "cases.py"))
CASES = [(name, content) for name, content, _ in CORPUS["CASES"]]
VERBS = (["check"], ["plan", "--json"], ["up", "--yes"], ["inventory"])


@pytest.mark.parametrize(("name", "content"), CASES, ids=[name for name, _ in CASES])
def test_a_bad_file_ends_with_exit_2_and_touches_nothing(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yml").write_bytes(content)
    verb = VERBS[len(name) % len(VERBS)]
    assert entry.run([verb[0], "site.yml", *verb[1:]]) == 2
    shown = capfd.readouterr()
    assert "error: " in shown.err and "site.yml" in shown.err
    assert "Traceback" not in shown.err + shown.out
    assert [path.name for path in tmp_path.iterdir()] == ["site.yml"]


@pytest.mark.parametrize("name", ["alias-bomb", "tag-python-object", "template-in-name", "empty"])
def test_the_program_itself_says_the_same(name: str, tmp_path: Path) -> None:
    contents = dict(CASES)
    if name not in contents:
        name = next(other for other in contents if name.split("-")[0] in other)
    (tmp_path / "site.yml").write_bytes(contents[name])
    argv = [sys.executable, "-m", "dsdeploy", "up", "site.yml", "--yes"]
    done = subprocess.run(
        argv, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / CORPUS["CANARY"]).exists()
