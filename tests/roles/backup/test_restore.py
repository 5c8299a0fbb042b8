"""Restores with real restic: into a folder, in place, refused, interrupted, onto a fresh host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from backup_machine import Machine

pytestmark = pytest.mark.slow


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_into_a_folder_touches_nothing_and_in_place_keeps_what_was_there(backed_up: Machine) -> None:
    live = tree(backed_up.root / "live")
    to = backed_up.root / "drill"
    backed_up.good("restore", "--to", str(to), "--what", "journal")
    restored = to / "sets" / "journal" / str(backed_up.root).lstrip("/") / "live"
    assert tree(restored) == {name: live[name] for name in ("epoch", "runs/1-up.jsonl")}
    assert tree(backed_up.root / "live") == live and not to.with_name("drill.partial").exists()

    shutil.rmtree(backed_up.live("runs"))
    backed_up.live("epoch").write_text("garbage")
    done = backed_up.good("restore", "1", "--what", "journal")
    assert backed_up.live("epoch").read_text() == "7 1-up\n"
    assert backed_up.live(f"epoch.before-{done['snapshot'][:8]}").read_text() == "garbage"
    assert backed_up.live("runs").joinpath("1-up.jsonl").is_file()

    code, found, _ = backed_up.call("restore", "--to", str(to))
    assert code == 1 and "not empty" in found["what"]
    code, found, _ = backed_up.call("restore", "7")
    assert code == 1 and "newest good one: 1" in found["what"]
    code, found, said = backed_up.call("restore", "--what", "nothing")
    assert code == 1 and "journal" in said


def test_an_epoch_is_never_taken_back(backed_up: Machine) -> None:
    one = json.loads((backed_up.root / "sets" / "journal.json").read_text())
    one["higher"] = [str(backed_up.live("epoch"))]
    (backed_up.root / "sets" / "journal.json").write_text(json.dumps(one))
    backed_up.good("run")
    backed_up.live("epoch").write_text("9 3-up\n")
    done = backed_up.good("restore", "--what", "journal")
    assert backed_up.live("epoch").read_text() == "9 3-up\n" and "higher number" in done["messages"][0]


def test_a_snapshot_that_lost_a_byte_is_refused_before_anything_is_written(backed_up: Machine) -> None:
    victim = max(backed_up.repository.glob("data/*/*"), key=lambda path: path.stat().st_size)
    victim.chmod(0o600)
    with victim.open("r+b") as stream:
        stream.seek(100_000)
        byte = stream.read(1)
        stream.seek(100_000)
        stream.write(bytes([byte[0] ^ 1]))
    before = tree(backed_up.root / "live")
    to = backed_up.root / "drill"
    assert backed_up.call("restore", "--to", str(to))[0] == 1
    assert backed_up.call("restore")[0] == 1
    assert tree(backed_up.root / "live") == before and not to.exists()
    assert not (backed_up.state / "scratch").exists()


def test_killed_half_way_nothing_live_has_changed(backed_up: Machine) -> None:
    before = tree(backed_up.root / "live")
    shim = backed_up.root / "bin"
    shim.mkdir()
    real = shutil.which("restic")
    condition = f'if [ "$w" = restore ]; then "{real}" "$@"; kill -9 $PPID; exit 9; fi'
    script = f'#!/bin/sh\nfor w; do {condition}; done\nexec "{real}" "$@"\n'
    (shim / "restic").write_text(script)
    (shim / "restic").chmod(0o755)
    backed_up.live("epoch").write_text("changed")
    environment = backed_up.environment(PATH=f"{shim}:{os.environ['PATH']}")
    done = subprocess.run(backed_up.argv("restore"), env=environment, capture_output=True, check=False)
    assert done.returncode == -9
    assert tree(backed_up.root / "live") == {**before, "epoch": b"changed"}
    shutil.rmtree(shim)
    backed_up.good("restore")
    assert backed_up.live("epoch").read_text() == "7 1-up\n" and not (backed_up.state / "scratch").exists()


def test_a_service_that_runs_on_the_files_is_not_replaced_unasked(backed_up: Machine) -> None:
    """systemctl is the one thing stood in for: it notes what it is told, and says that the unit runs."""
    shim, told = backed_up.root / "bin", backed_up.root / "told"
    shim.mkdir()
    (shim / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    (shim / "systemctl").chmod(0o755)
    path = f"{shim}:{os.environ['PATH']}"
    one = json.loads((backed_up.root / "sets" / "journal.json").read_text())
    (backed_up.root / "sets" / "journal.json").write_text(json.dumps({**one, "services": ["x.service"]}))
    backed_up.good("run")
    backed_up.live("epoch").write_text("1 changed\n")
    code, found, said = backed_up.call("restore", "--what", "journal", PATH=path)
    assert code == 1 and "x.service runs" in found["what"] and "--replace" in said
    assert backed_up.live("epoch").read_text() == "1 changed\n"
    backed_up.good("restore", "--what", "journal", "--replace", PATH=path)
    assert backed_up.live("epoch").read_text() == "7 1-up\n"
    words = told.read_text().splitlines()
    assert words[-3:] == ["stop x.service", "reset-failed x.service", "start x.service"]


def test_a_fresh_host_takes_the_highest_number_from_offsite(backed_up: Machine) -> None:
    backed_up.settings(offsite=str(backed_up.offsite))
    backed_up.live("epoch").write_text("8 2-up\n")
    second = backed_up.good("run")
    assert second["offsite"] is True and backed_up.metrics()["offsite_missing"] == 0
    shutil.rmtree(backed_up.state)
    shutil.rmtree(backed_up.repository)
    shutil.rmtree(backed_up.root / "live")
    done = backed_up.good("restore")
    assert done["sequence"] == 2 and backed_up.live("epoch").read_text() == "8 2-up\n"


def with_ledger(machine: Machine) -> Machine:
    """As the role has it: the ledger is in every snapshot."""
    (machine.root / "sets" / "ledger.json").write_text(
        json.dumps({"name": "ledger", "paths": [str(machine.state / "ledger.jsonl")]})
    )
    return machine


def test_a_host_that_lost_its_ledger_knows_again_which_snapshots_are_good(machine: Machine) -> None:
    with_ledger(machine)
    for _ in range(3):
        machine.good("run")
    shutil.rmtree(machine.state)
    shutil.rmtree(machine.live("runs"))
    assert machine.good("restore", "--what", "journal")["sequence"] == 3
    found = machine.good("list")
    assert [(one["sequence"], one["state"]) for one in found["snapshots"]] == [(n, "good") for n in (1, 2, 3)]
    assert found["unknown"] == [] and machine.good("run")["sequence"] == 4


def test_a_backup_after_the_loss_goes_on_counting_too(machine: Machine) -> None:
    with_ledger(machine)
    machine.good("run")
    machine.good("run")
    shutil.rmtree(machine.state)
    assert machine.good("run")["sequence"] == 3
    assert machine.good("list")["unknown"] == []


def test_a_ledger_that_is_there_is_not_replaced_by_an_older_one(machine: Machine) -> None:
    with_ledger(machine)
    machine.good("run")
    machine.good("run")
    machine.good("restore", "1")
    assert [one["sequence"] for one in machine.good("list")["snapshots"]] == [1, 2]


def test_a_fresh_host_counts_on_from_what_is_offsite(machine: Machine) -> None:
    with_ledger(machine).settings(offsite=str(machine.offsite))
    machine.good("run")
    machine.good("run")
    shutil.rmtree(machine.state)
    shutil.rmtree(machine.repository)
    assert machine.good("restore", "--what", "journal", "--replace")["sequence"] == 2
    assert machine.good("run")["sequence"] == 3
    shutil.rmtree(machine.state)
    shutil.rmtree(machine.repository)
    assert machine.good("run")["sequence"] == 4


def test_an_offsite_repository_that_is_gone_is_not_begun_anew(machine: Machine) -> None:
    machine.settings(offsite=str(machine.offsite))
    machine.good("run")
    shutil.rmtree(machine.offsite)
    code, _, said = machine.call("run")
    assert code == 6 and "the offsite repository is gone" in said and not machine.offsite.exists()
    ledger = machine.state / "ledger.jsonl"
    lines = [line for line in ledger.read_text().splitlines() if '"event":"offsite"' not in line]
    ledger.write_text("\n".join(lines) + "\n")  # what the hint says
    machine.good("run")
    assert all(one["offsite"] for one in machine.good("list")["snapshots"])


def test_folders_that_were_lost_come_back_with_owner_and_mode(machine: Machine) -> None:
    runs = machine.live("runs")
    runs.chmod(0o751)
    (runs / "below").mkdir(mode=0o700)
    (runs / "below" / "2-up.jsonl").write_text("{}\n")
    if os.geteuid() == 0:
        os.chown(runs / "below", 65534, 65534)
    before = {path: (path.stat().st_mode, path.stat().st_uid) for path in (runs, runs / "below")}
    machine.good("run")
    shutil.rmtree(runs)
    machine.good("restore", "--what", "journal")
    assert {path: (path.stat().st_mode, path.stat().st_uid) for path in before} == before


def test_the_same_snapshot_again_keeps_what_was_written_since(backed_up: Machine) -> None:
    for changed in ("changed\n", "changed again\n"):
        backed_up.live("epoch").write_text(changed)
        done = backed_up.good("restore", "1", "--what", "journal")
        assert backed_up.live("epoch").read_text() == "7 1-up\n"
    beside = backed_up.live(f"epoch.before-{done['snapshot'][:8]}")
    assert beside.read_text() == "changed\n" and Path(f"{beside}.1").read_text() == "changed again\n"


@pytest.mark.parametrize("loss", ["gone", "empty", "rotten", "rotten, and the list is gone"])
def test_offsite_is_taken_where_the_local_repository_cannot_give_it(machine: Machine, loss: str) -> None:
    machine.settings(offsite=str(machine.offsite))
    machine.good("run")
    if loss == "gone":
        shutil.rmtree(machine.repository)
    elif loss == "empty":  # the mount point of a disk that is not there
        shutil.rmtree(machine.repository)
        machine.repository.mkdir()
    else:
        for pack in machine.repository.glob("data/*/*"):
            pack.unlink()
        if "list" in loss:
            (machine.state / "ledger.jsonl").unlink()
    shutil.rmtree(machine.root / "live")
    code, _, said = machine.call("restore", "--from", "local")
    assert code == 1, said
    done = machine.good("restore")
    assert machine.live("epoch").read_text() == "7 1-up\n"
    assert loss != "rotten" or "from the offsite repository" in "".join(done["messages"])


def test_neither_place_can_give_it_and_both_are_told(machine: Machine) -> None:
    machine.settings(offsite=str(machine.offsite))
    machine.good("run")
    for pack in [*machine.repository.glob("data/*/*"), *machine.offsite.glob("*/data/*/*")]:
        pack.unlink()
    before = tree(machine.root / "live")
    code, found, said = machine.call("restore")
    assert code == 1 and "the offsite repository" in said and found["what"].count("restic") >= 2
    assert tree(machine.root / "live") == before
