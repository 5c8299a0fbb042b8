"""What makes a snapshot bad and what does not, and parts that are read back in turn, here and offsite: real restic."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from backup_machine import Machine
from dsdeploy_backup import config as configuration
from dsdeploy_backup import look

pytestmark = pytest.mark.slow


def events(machine: Machine, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (machine.state / "ledger.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def flip(repository: Path) -> Path:
    """A byte in the middle of the largest pack, which has data."""
    victim = max(repository.glob("data/*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[100_000] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(content)
    return victim


def shim(machine: Machine, word: str, does: str) -> str:
    """A PATH on which restic, asked for `word`, does something else."""
    folder, real = machine.root / "bin", shutil.which("restic")
    folder.mkdir(exist_ok=True)
    (folder / "restic").write_text(
        f'#!/bin/sh\nfor w; do if [ "$w" = {word} ]; then {does}; fi; done\nexec "{real}" "$@"\n'
    )
    (folder / "restic").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    "does",
    [
        "echo 'ignoring error for /x: write: no space left on device' >&2; exit 1",
        "kill -9 $$",
        "sleep 30; exit 1",
    ],
    ids=["full disk", "killed", "too slow"],
)
def test_what_keeps_restic_from_restoring_says_nothing_of_the_snapshot(backed_up: Machine, does: str) -> None:
    if "sleep" in does:
        backed_up.settings(limit=8)
    path = shim(backed_up, "restore", does)
    for verb in ("verify", "run"):
        assert backed_up.call(verb, PATH=path)[0] == 1
    assert events(backed_up, "bad") == [] and events(backed_up, "verified") == []
    backed_up.settings(keep=1, keep_full=1, limit=60)
    assert backed_up.good("run")["kind"] == "incremental"
    assert [one["state"] for one in backed_up.good("list")["snapshots"]] == ["good", "good"]


def test_a_disk_without_room_refuses_before_it_is_filled(backed_up: Machine) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    kept = (backed_up.state / "ledger.jsonl").read_text()
    argv = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(backed_up.state)]
    if subprocess.run(argv, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        (backed_up.state / "ledger.jsonl").write_text(kept)
        for verb in ("verify", "rehearse", "run"):
            code, found, said = backed_up.call(verb)
            assert code == 1 and "MiB are needed" in found["what"] and "free some space" in said
        assert events(backed_up, "bad") == [] and events(backed_up, "begin") == [json.loads(kept.splitlines()[0])]
        assert [one["ok"] for one in events(backed_up, "rehearsed")] == [False]
        assert backed_up.good("list")["snapshots"][0]["state"] == "good"
    finally:
        subprocess.run(["umount", str(backed_up.state)], check=True)


def test_a_rehearsal_that_breaks_anywhere_is_told_as_failed(
    backed_up: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    backed_up.good("rehearse")
    assert backed_up.metrics()["last_rehearsal_success"] == 1

    def broken(*given: object) -> str:
        raise OSError(5, "Input/output error", "/var/lib/x")

    monkeypatch.setattr(look.replay, "all_members", broken)
    with pytest.raises(OSError, match="Input/output error"):
        look.rehearse(configuration.load(backed_up.config), print)
    assert events(backed_up, "rehearsed")[-1]["ok"] is False
    assert backed_up.metrics()["last_rehearsal_success"] == 0
    assert not (backed_up.state / "scratch").exists()


def test_a_damaged_part_is_a_metric_until_it_was_read_again_and_was_whole(backed_up: Machine) -> None:
    backed_up.settings(slices=1)
    assert "last_check_success" in backed_up.metrics()
    assert backed_up.metrics()["last_check_success"] == 1
    backed_up.live("big").unlink()  # what comes next needs nothing of that pack
    flip(backed_up.repository)
    code, found, said = backed_up.call("run", "--full")
    assert code == 1 and found["read_back"] is False and "part 1/1 of the repository is damaged" in said
    seen = backed_up.metrics()
    assert (seen["last_run_success"], seen["last_check_success"]) == (1, 0)
    again = backed_up.good("run")
    assert again["kind"] == "incremental" and again["read_back"] is True
    assert backed_up.metrics()["last_check_success"] == 1


def test_a_pack_that_was_flipped_offsite_is_found_by_the_next_full_and_told_until_it_is_mended(
    machine: Machine,
) -> None:
    machine.settings(offsite=str(machine.offsite), slices=1, full_every=3)
    first = machine.good("run")
    assert first["offsite_read_back"] is True and machine.metrics()["last_offsite_check_success"] == 1
    flip(machine.offsite / "gpu1")
    assert machine.good("run")["offsite_read_back"] is None  # no full, not its turn
    for kind in ("full", "incremental"):
        code, found, said = machine.call("run", *(["--full"] if kind == "full" else []))
        assert code == 6 and found["kind"] == kind and found["offsite_read_back"] is False and "is not whole" in said
        assert machine.metrics()["last_offsite_check_success"] == 0 and machine.metrics()["last_run_success"] == 1
    code, listed, _ = machine.call("list")
    assert code == 1 and "offsite repository was not whole" in listed["problem"]
    (machine.offsite / "gpu1").rename(machine.offsite / "gpu1.damaged")  # what the hint says, command by command
    hint = said[said.index("sed -i") : said.index(";", said.index("sed -i"))]
    subprocess.run(hint, shell=True, check=True)
    machine.good("run", "--full")
    assert machine.metrics()["last_offsite_check_success"] == 1
    assert all(one["offsite"] for one in machine.good("list")["snapshots"])


def test_a_copy_elsewhere_that_is_new_is_read_back_at_once_and_not_only_after_the_next_full(machine: Machine) -> None:
    machine.settings(slices=1)
    machine.good("run")
    machine.settings(offsite=str(machine.offsite), slices=1)
    second = machine.good("run")
    assert (second["kind"], second["read_back"], second["offsite_read_back"]) == ("incremental", None, True)
    assert machine.metrics()["last_offsite_check_success"] == 1
    assert machine.good("run")["offsite_read_back"] is None


def test_what_expires_while_offsite_is_away_is_removed_there_when_it_is_back(machine: Machine) -> None:
    machine.settings(offsite=str(machine.offsite), keep=1, keep_full=1, full_every=1)
    machine.good("run")
    machine.good("run")
    there = machine.offsite / "gpu1"
    assert len(list((there / "snapshots").iterdir())) == 1
    there.rename(there.with_name("unplugged"))
    assert machine.call("run")[0] == 6
    there.with_name("unplugged").rename(there)
    machine.good("run")
    listed = machine.good("list")["snapshots"]
    assert [one["sequence"] for one in listed] == [4]
    assert [path.name for path in (there / "snapshots").iterdir()] == [listed[0]["offsite"]]
