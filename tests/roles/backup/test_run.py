"""Backups with real restic: made, proven, damaged, killed, full, copied elsewhere, never lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from backup_machine import PASSWORD, Machine

pytestmark = pytest.mark.slow


def newest(machine: Machine) -> int:
    found = machine.good("list")
    return next(one["sequence"] for one in found["snapshots"] if one["snapshot"] == found["newest"])


def states(machine: Machine) -> dict[int, str]:
    return {one["sequence"]: one["state"] for one in machine.call("list")[1]["snapshots"]}


def pack(machine: Machine) -> Path:
    """The largest pack: it has data, not only folders."""
    return max(machine.repository.glob("data/*/*"), key=lambda path: path.stat().st_size)


def test_the_first_is_full_the_second_is_not_and_both_are_proven(backed_up: Machine) -> None:
    backed_up.live("epoch").write_text("8 2-upgrade\n")
    second = backed_up.good("run")
    assert (second["kind"], second["sequence"]) == ("incremental", 2)
    assert states(backed_up) == {1: "good", 2: "good"}
    seen = backed_up.metrics()
    assert seen["last_run_success"] == 1 and seen['snapshots{state="good"}'] == 2
    assert seen["snapshot_bytes"] > 300_000 and "offsite_success" not in seen


def test_nothing_in_clear_is_left_behind(backed_up: Machine) -> None:
    left = {path.name for path in backed_up.state.iterdir()}
    assert left == {"ledger.jsonl", "lock"}
    assert {path.stat().st_mode & 0o077 for path in backed_up.state.iterdir()} == {0}


def test_metrics_are_what_promtool_accepts(backed_up: Machine) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed here (Debian package prometheus)")
    text = (backed_up.root / "metrics" / "dsdeploy_backup.prom").read_bytes()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_flipped_pack_is_named_and_mended_and_the_next_one_is_good(backed_up: Machine) -> None:
    victim = pack(backed_up)
    content = bytearray(victim.read_bytes())
    content[100_000] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(content)
    code, found, _ = backed_up.call("verify")
    assert code == 1 and found["newest"] is None and states(backed_up)[1] != "good"
    assert backed_up.metrics()["last_verify_success"] == 0 and backed_up.metrics()["last_run_success"] == 1
    again = backed_up.good("run")
    assert again["kind"] == "full" and newest(backed_up) == again["sequence"]
    assert not victim.exists() and (backed_up.state / "damaged-packs" / victim.name).exists()
    assert backed_up.call("verify")[0] in (0, 1)
    backed_up.restic("check", "--read-data")


def test_a_removed_pack_is_noticed_and_made_anew(backed_up: Machine) -> None:
    pack(backed_up).unlink()
    again = backed_up.good("run")
    assert again["kind"] == "full"
    assert states(backed_up) == {again["sequence"]: "good"}  # the one that nothing can bring back is gone
    backed_up.restic("check", "--read-data")


def test_an_old_snapshot_that_turned_bad_does_not_hide_a_good_newer_one(backed_up: Machine) -> None:
    only_old = pack(backed_up)
    for path in (backed_up.live("big"), backed_up.live("epoch"), backed_up.live("runs") / "1-up.jsonl"):
        path.write_bytes(os.urandom(30_000))  # else the second would need the first one's pack too
    backed_up.good("run")
    only_old.unlink()
    code, found, said = backed_up.call("verify")
    assert code == 1 and len(found["bad"]) == 1
    assert newest(backed_up) == 2 and "newest good snapshot: 2" in said


def test_a_wrong_password_is_said_before_any_work(backed_up: Machine) -> None:
    (backed_up.root / "secrets" / "password").write_text("another")
    code, found, said = backed_up.call("run")
    assert code == 1 and "wrong password" in found["what"] and "put that back" in said
    assert not (backed_up.state / "staging").exists()
    assert backed_up.metrics()["last_run_success"] == 0
    (backed_up.root / "secrets" / "password").write_text(PASSWORD)
    assert newest(backed_up) == 1


def test_no_password_is_a_usage_error(machine: Machine) -> None:
    (machine.root / "secrets" / "password").unlink()
    assert machine.call("run")[0] == 2


def test_a_hundred_snapshots_of_a_stranger_change_nothing(backed_up: Machine) -> None:
    backed_up.settings(keep=1, keep_full=1)
    bogus = backed_up.root / "bogus"
    bogus.write_text("x")
    backed_up.restic("backup", "--host", "gpu1", "--time", "2099-01-01 00:00:00", str(bogus))
    only = next((backed_up.repository / "snapshots").iterdir())
    template = json.loads(backed_up.restic("snapshots", "--json"))[-1]["id"]
    for number in range(12):  # the same by another hand: restic gives each its own id
        backed_up.restic("tag", "--add", f"n{number}", template)
        template = json.loads(backed_up.restic("snapshots", "--json"))[-1]["id"]
        backed_up.restic("backup", "--host", "gpu1", "--time", f"2098-01-{number + 1:02} 00:00:00", str(bogus))
    assert only.parent.is_dir()
    second = backed_up.good("run")
    found = backed_up.good("list")
    assert found["newest"] == second["snapshot"] and len(found["unknown"]) == 13
    assert states(backed_up) == {1: "good", 2: "good"}  # 1 is the last good full
    assert backed_up.metrics()['snapshots{state="unknown"}'] == 13


def test_a_clock_far_ahead_and_back_again_changes_no_order(backed_up: Machine) -> None:
    """The snapshots and the ledger get the dates; that is all the clock has a say in."""
    lines = (backed_up.state / "ledger.jsonl").read_text()
    (backed_up.state / "ledger.jsonl").write_text(lines.replace(time.strftime("%Y-"), "2099-"))
    backed_up.settings(keep=1, keep_full=1)
    second = backed_up.good("run")
    assert newest(backed_up) == second["sequence"] == 2
    assert second["kind"] == "incremental" and states(backed_up) == {1: "good", 2: "good"}


@pytest.mark.parametrize("phase", ["stage", "backup", "prove", "note", "forget"])
def test_killed_in_any_phase_the_next_run_goes_on_and_nothing_is_lost(backed_up: Machine, phase: str) -> None:
    """The whole process group is killed, as a reboot or systemd does it, when restic is called for that phase."""
    backed_up.settings(keep=1, keep_full=1, full_every=1)
    if phase == "forget":
        backed_up.good("run")
    before = newest(backed_up)
    word = {"stage": "unlock", "backup": "backup", "prove": "restore", "note": "stats", "forget": "forget"}[phase]
    if phase == "note":
        word = "check"  # the first thing after the line is in the ledger
    shim = backed_up.root / "bin"
    shim.mkdir()
    real = shutil.which("restic")
    (shim / "restic").write_text(
        f'#!/bin/sh\nfor w; do if [ "$w" = {word} ]; then'
        + (f' "{real}" "$@" >/dev/null 2>&1 &' if phase in ("backup", "prove", "forget") else "")
        + f' sleep 0.4; kill -9 $PPID; exit 9; fi; done\nexec "{real}" "$@"\n'
    )
    (shim / "restic").chmod(0o755)
    done = subprocess.run(
        backed_up.argv("run"),
        env=backed_up.environment(PATH=f"{shim}:{os.environ['PATH']}"),
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    shutil.rmtree(shim)
    assert newest(backed_up) == (before + 1 if phase in ("note", "forget") else before)
    backed_up.settings(wait=30)  # the orphaned restic holds the lock until it ends
    after = backed_up.good("run")
    assert newest(backed_up) == after["sequence"] > before
    assert backed_up.good("list")["unknown"] == []
    assert {path.name for path in backed_up.state.iterdir()} <= {"ledger.jsonl", "lock"}
    backed_up.restic("check", "--read-data")


def test_a_ledger_line_that_a_crash_tore_is_dropped(backed_up: Machine) -> None:
    with (backed_up.state / "ledger.jsonl").open("a") as stream:
        stream.write('{"event":"proven","sequence":9,"snap')
    assert newest(backed_up) == 1
    assert backed_up.good("run")["sequence"] == 2
    assert states(backed_up) == {1: "good", 2: "good"}


def test_a_repository_that_is_gone_is_not_silently_begun_anew(backed_up: Machine) -> None:
    shutil.rmtree(backed_up.repository)
    code, found, said = backed_up.call("run")
    assert code == 1 and "is gone" in found["what"] and "ledger.jsonl" in said
    assert not backed_up.repository.exists()


def test_retention_keeps_the_numbers_it_is_given(backed_up: Machine) -> None:
    backed_up.settings(keep=2, keep_full=1, full_every=2)
    for _ in range(4):
        backed_up.good("run")
    assert sorted(states(backed_up)) == [4, 5]
    assert len(json.loads(backed_up.restic("snapshots", "--json"))) == 2


def test_a_switch_is_waited_for(backed_up: Machine) -> None:
    journal = backed_up.root / "runs" / "5-upgrade.jsonl"
    journal.write_text('{"kind":"begin"}\n{"kind":"step","step":"switch"}\n')
    code, found, said = backed_up.call("run")
    assert code == 75 and "step switch" in found["what"] and "waiting" in said
    for job in ("rehearse", "nightly"):
        code, found, _ = backed_up.call(job)
        assert code == 75 and "step switch" in found["what"]
    assert "last_rehearsal_success" not in backed_up.metrics()  # one that waits is not one that failed
    with journal.open("a") as stream:
        stream.write('{"kind":"end","outcome":"done"}\n')
    assert backed_up.good("run")["sequence"] == 2


def test_two_at_once_exclude_each_other(backed_up: Machine) -> None:
    import fcntl

    with (backed_up.state / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, found, _ = backed_up.call("run")
    assert code == 75 and "another backup" in found["what"]


def test_a_file_that_is_not_a_set_stops_the_backup_by_name(backed_up: Machine) -> None:
    (backed_up.root / "sets" / "new.json").write_text('{"name": "../x", "paths": []}')
    code, found, _ = backed_up.call("run")
    assert code == 1 and "new.json" in found["where"]


def test_the_password_is_in_no_process_and_no_file_of_ours(backed_up: Machine) -> None:
    """Every process that runs meanwhile is looked at: command line and environment."""
    with subprocess.Popen(backed_up.argv("run"), env=backed_up.environment(), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as child:  # fmt: skip
        looked = 0
        while child.poll() is None:
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        content = (process / name).read_bytes()
                    except OSError:
                        continue
                    looked += b"restic" in content
                    assert PASSWORD.encode() not in content
        assert child.stdout is not None and PASSWORD.encode() not in child.stdout.read()
    assert child.returncode == 0 and looked
    found = [path for path in backed_up.root.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert [path.name for path in found] == ["password"]


def test_a_local_disk_that_is_full_fails_and_keeps_what_was_proven(backed_up: Machine) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    small = backed_up.root / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        shutil.copytree(backed_up.repository, small / "repository")
        backed_up.settings(repository=str(small / "repository"))
        backed_up.live("big").write_bytes(os.urandom(600_000))
        code, _, said = backed_up.call("run")
        assert code == 1 and "no space" in said.lower()
        backed_up.live("big").write_bytes(b"small again")
        assert newest(backed_up) == 1
        assert backed_up.good("run")["sequence"] > 1
    finally:
        subprocess.run(["umount", str(small)], check=True)
