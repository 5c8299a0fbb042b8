"""A host's memory of runs: who is let through, what is on disk when, and what a bad disk leaves behind."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import json
import os
import sys
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils import basic

SOURCE = Path(__file__).resolve().parents[3] / "roles" / "fence" / "library" / "fence.py"
HEADER = {"kind": "begin", "site": "lab", "run": "r1"}


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fence", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fence = load()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "dsdeploy"


def enter(state: Path, epoch: int, run: str, header: Any = HEADER, record: Any = None) -> int:
    return fence.enter(str(state), fence.This("gpu1", epoch, run, header.get("site", "")), header, record or {})


def journal(state: Path, run: str) -> list[Any]:
    return [json.loads(line) for line in (state / "runs" / f"{run}.jsonl").read_text().splitlines()]


def tree(state: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in state.rglob("*") if path.is_file()}


def test_a_bare_host_takes_the_first_epoch_and_gets_its_folders(state: Path) -> None:
    before = os.umask(0o077)
    try:
        assert enter(state, 7, "r1") == 0
    finally:
        os.umask(before)
    assert (state / "epoch").read_text() == "7 r1\n"
    modes = {name: (state / name).stat().st_mode & 0o777 for name in (".", "epoch", "runs", "runs/r1.jsonl")}
    assert modes == {".": 0o755, "epoch": 0o644, "runs": 0o700, "runs/r1.jsonl": 0o600}
    assert sorted(path.name for path in state.iterdir()) == ["epoch", "fence.lock", "runs"]


def test_a_higher_epoch_replaces_a_lower_one(state: Path) -> None:
    enter(state, 7, "r1")
    assert enter(state, 9, "r2") == 7
    assert (state / "epoch").read_text() == "9 r2\n"


def test_a_lower_epoch_is_refused_and_leaves_no_trace(state: Path) -> None:
    enter(state, 43, "new")
    before = tree(state)
    with pytest.raises(fence.Refused) as caught:
        enter(state, 42, "old")
    message = "fenced: gpu1 has seen epoch 43 of run new; this is epoch 42 of run old"
    assert str(caught.value).splitlines() == [message, "try: dsdeploy status SITE"]
    assert tree(state) == before


def test_two_runs_do_not_share_an_epoch(state: Path) -> None:
    enter(state, 1, "a")
    with pytest.raises(fence.Refused, match="fenced: on gpu1 epoch 1 belongs to run a; this is run b"):
        enter(state, 1, "b")
    assert enter(state, 1, "a") == 1


def test_a_run_without_a_lock_neither_asks_nor_counts(state: Path) -> None:
    enter(state, 43, "new")
    assert enter(state, 0, "early") == 43
    assert (state / "epoch").read_text() == "43 new\n"
    assert journal(state, "early") == [HEADER]


@pytest.mark.parametrize("text", ["", "43\n", "43 new", "x new\n", "-1 new\n", "43 a b\n", "\0\0\0"])
def test_a_damaged_epoch_lets_nobody_through(state: Path, text: str) -> None:
    state.mkdir()
    (state / "epoch").write_text(text)
    with pytest.raises(fence.Refused, match="epoch is damaged"):
        enter(state, 99, "r1")
    assert (state / "epoch").read_text() == text


def test_another_sites_host_gets_no_epoch(state: Path) -> None:
    state.mkdir()
    (state / "site").write_text("berlin\n")
    with pytest.raises(fence.Refused, match="gpu1 belongs to site berlin, not to lab"):
        enter(state, 5, "r1")
    assert [path.name for path in state.iterdir()] == ["site"]


def test_the_header_comes_first_and_once_and_records_in_order(state: Path) -> None:
    one, two = {"kind": "step", "step": "prep"}, {"kind": "step", "step": "Straße"}
    for record in ({}, one, one, two, one):
        enter(state, 3, "r1", record=record)
    assert journal(state, "r1") == [HEADER, one, two, one]


def test_a_torn_line_stays_torn_and_the_next_stands_alone(state: Path) -> None:
    enter(state, 3, "r1")
    path = state / "runs" / "r1.jsonl"
    with path.open("a") as stream:
        stream.write('{"kind":"step","st')
    enter(state, 3, "r1", record={"kind": "end"})
    assert path.read_text().splitlines()[1:] == ['{"kind":"step","st', '{"kind":"end"}']


@pytest.mark.parametrize("torn", ["", '{"kind":"beg'])
def test_a_header_that_was_cut_off_is_written_anew(state: Path, torn: str) -> None:
    (state / "runs").mkdir(parents=True)
    (state / "runs" / "r1.jsonl").write_text(torn)
    enter(state, 3, "r1", record={"kind": "step"})
    assert journal(state, "r1") == [HEADER, {"kind": "step"}]


def test_the_newest_fifty_journals_are_kept_and_this_one_whatever_its_name(state: Path) -> None:
    (state / "runs").mkdir(parents=True)
    for number in range(60):
        (state / "runs" / f"2026-{number:02}.jsonl").touch()
    enter(state, 3, "1999-slow-clock")
    kept = sorted(path.stem for path in (state / "runs").iterdir())
    assert kept == ["1999-slow-clock", *(f"2026-{number:02}" for number in range(11, 60))]


def test_a_full_disk_is_named_and_leaves_the_epoch_whole(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(state, 3, "r1")

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fence.os, "write", full)
    with pytest.raises(OSError) as caught:
        enter(state, 4, "r2")
    assert caught.value.errno == errno.ENOSPC and str(state / "epoch") in caught.value.filename
    assert (state / "epoch").read_text() == "3 r1\n"
    assert not (state / "epoch.new").exists()


def test_a_file_in_a_folders_place_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "dsdeploy").symlink_to(tmp_path)
    with pytest.raises(OSError, match="is not a folder") as caught:
        enter(tmp_path / "dsdeploy", 1, "r1")
    assert caught.value.filename == str(tmp_path / "dsdeploy")


def _contend(state: str, epoch: int) -> None:
    with contextlib.suppress(fence.Refused):
        enter(Path(state), epoch, f"r{epoch}")


def test_of_runs_at_the_same_time_the_highest_stays(state: Path) -> None:
    state.mkdir()
    context = get_context("fork")
    others = [context.Process(target=_contend, args=(str(state), epoch)) for epoch in (3, 8, 5, 1, 7, 2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0] * 6
    assert (state / "epoch").read_text() == "8 r8\n"


def module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **given: Any) -> Any:
    """What the module answers Ansible."""
    arguments = {"host": "gpu1", "epoch": 2, "run": "r2", "header": HEADER, "record": {}, **given}
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit):
        fence.main()
    return json.loads(capsys.readouterr().out)


def test_the_module_is_never_a_change(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fence, "STATE", str(state))
    answer = module(monkeypatch, capsys)
    assert (answer["changed"], answer["seen"]) == (False, 0)
    assert journal(state, "r2") == [HEADER]


def test_check_mode_compares_and_writes_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fence, "STATE", str(state))
    assert module(monkeypatch, capsys, _ansible_check_mode=True)["changed"] is False
    assert not state.exists()
    enter(state, 3, "r3")
    before = tree(state)
    assert module(monkeypatch, capsys, _ansible_check_mode=True)["msg"].startswith("fenced: gpu1 has seen epoch 3")
    assert tree(state) == before


def test_a_bad_disk_is_said_with_path_and_a_command(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_only(path: str, mode: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(fence, "STATE", str(state))
    monkeypatch.setattr(fence.os, "mkdir", read_only)
    said = module(monkeypatch, capsys)["msg"].splitlines()
    assert said[0] == f"{state}: Read-only file system" and said[1].startswith("try: findmnt -T ")


@pytest.mark.parametrize("run", ["../../etc/cron.d/x", "", "a b", "r1\n"])
def test_an_id_that_is_none_is_refused(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: str
) -> None:
    monkeypatch.setattr(fence, "STATE", str(state))
    assert "not an epoch and a run id" in module(monkeypatch, capsys, run=run)["msg"]
    assert not state.exists()
