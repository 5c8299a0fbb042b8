"""The operator's own programs: what they are told, and what their word counts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dsdeploy import hooks
from dsdeploy.errors import GateError
from dsdeploy.runs import Run
from dsdeploy.site import Site


@pytest.fixture
def job(lab_site: Site, tmp_path: Path) -> Any:
    site = lab_site.model_copy()
    site._file = tmp_path / "site.yml"
    (tmp_path / "hooks").mkdir()
    (tmp_path / "run").mkdir()
    record = Run("run-1", tmp_path / "run")
    return SimpleNamespace(
        site=site, record=record, lock=SimpleNamespace(epoch=7), header={"from": "v1-a", "verb": "upgrade"}
    )


def hook(job: Any, name: str, text: str, mode: int = 0o755) -> Path:
    path: Path = job.site.file.parent / "hooks" / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(mode)
    return path


def test_a_hook_that_is_not_there_says_nothing(job: Any) -> None:
    hooks.run(job, "pre-upgrade")
    assert list(job.record.folder.iterdir()) == []


def test_it_is_told_what_happens_on_stdin_and_nothing_else(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "do-not-pass-on")
    seen = job.site.file.parent / "seen"
    hook(job, "pre-switch", f"cat > {seen}; env > {seen}.env")
    hooks.run(job, "pre-switch", batch=["gpu1"], to="v2-b")
    told = json.loads(seen.read_text())
    assert told == {
        "hook": "pre-switch", "site": "lab", "run": "run-1", "epoch": 7, "from": "v1-a", "verb": "upgrade",
        "batch": ["gpu1"], "to": "v2-b",
    }  # fmt: skip
    assert "do-not-pass-on" not in Path(f"{seen}.env").read_text()
    assert json.loads((job.record.folder / "hook-pre-switch.json").read_text()) == told


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [("echo not tonight >&2; exit 3", 0o755, "exit 3"), ("true", 0o644, "chmod +x"), ("kill -9 $$", 0o755, "said no")],
)
def test_any_other_end_than_0_says_no(job: Any, text: str, mode: int, words: str) -> None:
    path = hook(job, "pre-upgrade", text, mode)
    with pytest.raises(GateError) as refused:
        hooks.run(job, "pre-upgrade")
    assert words in refused.value.what and refused.value.where == str(path) and refused.value.exit_code == 5
    assert ("not tonight" in refused.value.what) == ("tonight" in text)
