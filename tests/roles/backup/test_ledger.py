"""The ledger on a bad disk: a line is there whole, or the run hears that it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dsdeploy_backup import ledger

ENTRY = {"sequence": 1, "snapshot": "ab" * 32, "kind": "full"}


def test_a_line_that_the_disk_takes_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, path = os.write, tmp_path / "ledger.jsonl"
    monkeypatch.setattr(ledger.os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    ledger.append(path, "proven", **ENTRY)
    ledger.append(path, "offsite", snapshot=ENTRY["snapshot"], **{"as": "cd"})
    monkeypatch.undo()
    entry = ledger.read(path).entries["ab" * 32]
    assert entry.good and entry.offsite == "cd"


def test_a_disk_that_takes_only_a_piece_is_an_error_and_costs_no_other_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, path = os.write, tmp_path / "ledger.jsonl"
    ledger.append(path, "proven", **ENTRY)
    left = [7]

    def filling(descriptor: int, data: bytes) -> int:
        if not left:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[: left.pop()])

    monkeypatch.setattr(ledger.os, "write", filling)
    with pytest.raises(OSError, match="No space left"):
        ledger.append(path, "proven", **{**ENTRY, "sequence": 2, "snapshot": "cd" * 32})
    monkeypatch.undo()
    ledger.append(path, "proven", **{**ENTRY, "sequence": 3, "snapshot": "ef" * 32})
    assert [entry.sequence for entry in ledger.read(path).ordered()] == [1, 3]
