"""Is the process that holds a lock dead: yes only when this computer's kernel proves it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from dsdeploy import owner as owners
from dsdeploy.owner import Owner

SLEEPER = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture
def me() -> Owner:
    return owners.me("upgrade", "run-1")


def of(process: subprocess.Popen[bytes], me: Owner) -> Owner:
    return replace(me, pid=process.pid, started=owners.started(process.pid))


def test_this_process_is_alive(me: Owner) -> None:
    assert me.started.isdigit() and me.machine and not me.dead()


def test_a_killed_process_is_dead_even_before_its_parent_collects_it(me: Owner) -> None:
    process = subprocess.Popen(SLEEPER, stdin=subprocess.PIPE)
    theirs = of(process, me)
    assert not theirs.dead()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert theirs.dead()
    process.communicate()
    assert theirs.dead()


def test_a_pid_that_came_back_for_another_process_proves_death(me: Owner) -> None:
    assert replace(me, started=str(int(me.started) - 1)).dead()


@pytest.mark.parametrize("unknown", [{"machine": "another"}, {"machine": ""}, {"started": ""}, {"pid": 0}])
def test_what_cannot_be_compared_proves_nothing(me: Owner, unknown: dict[str, object]) -> None:
    process = subprocess.Popen(SLEEPER, stdin=subprocess.PIPE)
    theirs = of(process, me)
    process.kill()
    process.communicate()
    assert theirs.dead() and not replace(theirs, **unknown).dead()


def test_another_boot_is_another_machine(monkeypatch: pytest.MonkeyPatch, me: Owner) -> None:
    line = owners._line
    monkeypatch.setattr(owners, "_line", lambda path: "other" if path.name == "boot_id" else line(path))
    assert not replace(me, started="1").dead()


def test_a_kernel_that_does_not_tell_its_boot_has_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "_line", lambda path: "")
    assert owners.machine() == ""


def test_a_process_of_somebody_else_is_alive(monkeypatch: pytest.MonkeyPatch, me: Owner) -> None:
    def kill(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(owners, "_stat", lambda pid: [])
    assert not me.dead()


def test_a_name_with_brackets_and_blanks_does_not_shift_the_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = " ".join(str(number) for number in range(4, 53))
    monkeypatch.setattr(owners, "_line", lambda path: f"7 (a) b (c) S {fields}")
    assert owners.started(7) == "22"


def test_the_sentence_says_who_since_when_and_where_it_is(me: Owner) -> None:
    today = datetime.now(timezone.utc).replace(hour=5, minute=12, second=33, microsecond=0)
    known = replace(me, user="root", host="ops1", pid=4242, since=today.isoformat())
    assert known.sentence() == "root@ops1 (pid 4242) since 05:12:33, upgrade"
    assert known.at("switch").sentence() == "root@ops1 (pid 4242) since 05:12:33, upgrade, at step switch"
    earlier = replace(known, since=(today - timedelta(days=400)).isoformat())
    assert f"since {today - timedelta(days=400):%Y-%m-%d} 05:12:33" in earlier.sentence()


def test_each_run_has_an_id_of_its_own_and_reads_back_as_it_was(me: Owner) -> None:
    assert me.id != owners.me("upgrade", "run-1").id and len(me.id) >= 8
    assert owners.read(me.at("drain").text()) == me.at("drain")
    assert owners.read(me.text()[:-1] + ', "more": 1}') == me


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", '{"pid": 1}', '{"id": "a", "pid": "x"}'])
def test_an_unreadable_entry_is_a_holder_that_is_not_known_to_be_dead(text: str) -> None:
    there = owners.read(text)
    assert len(there.id) >= 8 and not there.dead() and "cannot be read" in there.sentence()
    assert there == owners.read(text)
