"""The record that survives: whole lines, torn tails, full disks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dsdeploy import journal
from dsdeploy.errors import DsdeployError
from dsdeploy.journal import Journal


def test_intent_and_done_are_lines_in_order(tmp_path: Path) -> None:
    record = Journal(tmp_path / "run")
    record.intent("switch", router="gw1")
    record.done("switch", router="gw1")
    lines = journal.read(record.path)
    assert [(line["kind"], line["step"], line["detail"]) for line in lines] == [
        ("intent", "switch", {"router": "gw1"}), ("done", "switch", {"router": "gw1"}),
    ]  # fmt: skip
    assert lines[0]["at"] <= lines[1]["at"] and oct(record.path.stat().st_mode)[-3:] == "600"


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_tail_is_dropped_and_the_next_record_is_whole(tmp_path: Path, cut: int) -> None:
    record = Journal(tmp_path)
    record.intent("start")
    record.intent("switch")
    record.path.write_bytes(record.path.read_bytes()[:-cut])
    record.done("after")
    assert [line["step"] for line in journal.read(record.path)] in (["start", "after"], ["start", "switch", "after"])


def test_a_file_that_is_not_there_has_no_records(tmp_path: Path) -> None:
    assert journal.read(tmp_path / "none") == []


def test_every_record_is_on_disk_before_write_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        synced.append(path.read_bytes() if path.is_file() else b"folder")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    Journal(tmp_path).intent("start")
    assert json.loads(synced[0])["step"] == "start" and b"folder" in synced


def test_what_cannot_be_recorded_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DsdeployError, match="No space left on device") as refused:
        Journal(tmp_path).intent("start")
    assert "df -h" in refused.value.hint and str(tmp_path) in refused.value.where


def test_a_disk_that_takes_a_part_at_a_time_gets_the_whole_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:5]))
    Journal(tmp_path).intent("switch", host="gpu1")
    assert [record["step"] for record in journal.read(tmp_path / journal.NAME)] == ["switch"]
