"""What keepalived is told about HAProxy, and when."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsdeploy import failover


@pytest.mark.parametrize(
    ("answers", "verdicts"),
    [
        ([True, True, True], [None, None, True]),
        ([False, False], [None, False]),
        ([True, True, True, False, True, False, False], [None, None, True, True, True, True, False]),
        ([False, False, True, True, False, True, True, True], [None, False, False, False, False, False, False, True]),
    ],
)
def test_one_answer_alone_decides_nothing(watch: ModuleType, answers: list[bool], verdicts: list[object]) -> None:
    verdict = watch.Verdict()
    seen = []
    for answered in answers:
        before = verdict.alive
        assert verdict.observe(answered) == (verdict.alive is not before)
        seen.append(verdict.alive)
    assert seen == verdicts


def test_a_socket_that_answers_one_that_is_silent_and_none(
    watch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sock"
    assert watch.ask(str(path)) is False
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        # silent: the connection is taken by the kernel and never answered
        monkeypatch.setattr(watch, "OVERSLEPT_S", 60)
        assert watch.ask(str(path)) is False
        # the same silence, seen by a process that did not get to run in the meantime
        monkeypatch.setattr(watch, "OVERSLEPT_S", -watch.TIMEOUT_S)
        assert watch.ask(str(path)) is None


def test_a_running_haproxy_says_which_process_answers(watch: ModuleType, router: Any) -> None:
    worker = watch.ask(str(router.paths.socket))
    assert Path(f"/proc/{worker.pid}/comm").read_text() == "haproxy\n" and worker.used >= 0


def test_only_who_could_run_and_is_not_let_is_starved(watch: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = watch.Worker(7, when=100.0, used=5.0)
    for runnable, used, now, verdict in (
        (True, 5.0, 100.3, True),
        (True, 5.1, 100.3, True),
        (False, 5.0, 100.3, False),  # stopped, or waits for a lock that nobody gives back
        (True, 5.2, 100.3, False),  # runs and answers nothing: a loop
        (True, 5.0, 101.6, False),  # no machine is that full for that long
    ):
        monkeypatch.setattr(watch, "threads", lambda pid, found=(runnable, used): found)
        assert watch.starved(worker, now) is verdict, (runnable, used, now)


def test_threads_are_read_from_proc(watch: ModuleType) -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            while watch.threads(busy.pid)[1] < 0.05:
                assert busy.poll() is None
            assert watch.threads(busy.pid)[0]
            os.kill(busy.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, busy.pid, os.WSTOPPED)
            assert not watch.threads(busy.pid)[0]
        finally:
            busy.kill()
    assert watch.threads(busy.pid) == (False, 0.0)


def test_the_file_is_written_when_the_verdict_changes_and_systemd_is_told(
    watch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = watch.Worker(7, when=0.0, used=0.0)
    file, answers = tmp_path / "haproxy", iter([here, here, here, None, False, False, False, here, here, here])
    said: list[str] = []
    monkeypatch.setattr(watch, "ask", lambda path, timeout_s: next(answers))
    monkeypatch.setattr(watch, "notify", said.append)
    verdict, seen = watch.Verdict(), []
    pauses = []
    for _ in range(10):
        pauses.append(watch.step(verdict, "socket", file))
        seen.append(file.read_text() if file.exists() else "")
    assert seen == ["", "", "0\n", "0\n", "0\n", "1\n", "1\n", "1\n", "1\n", "0\n"]
    assert said.count("READY=1") == 3 and said.count("WATCHDOG=1") == 10
    assert [n for n, pause in enumerate(pauses) if pause == watch.FAST_INTERVAL_S] == [4]


def test_a_dead_or_hung_haproxy_is_told_in_time(watch: ModuleType) -> None:
    """The README's sum: two questions, their pauses, and the 30 ms a backup lets pass after a farewell."""
    hung = watch.INTERVAL_S + watch.FAST_INTERVAL_S + watch.FALL * watch.TIMEOUT_S
    assert hung + 0.03 < 0.5


@pytest.mark.parametrize("silence_s", [0.5, 5.0, 30.0])
def test_systemd_waits_for_a_question_longer_than_the_watch_does(
    watch: ModuleType, rendering: ModuleType, silence_s: float
) -> None:
    """A watch that is ended while it asks a hung HAProxy would never tell of it."""
    times = failover.times(silence_s)
    unit = rendering.render("dsdeploy-router-watch.service.j2", **times)
    asked = re.search(r"^ExecStart=.* (\d+)$", unit, re.MULTILINE)
    watchdog = re.search(r"^WatchdogSec=(\d+)$", unit, re.MULTILINE)
    assert asked and watchdog and int(asked[1]) == times["router_check_timeout_ms"]
    assert int(watchdog[1]) > int(asked[1]) / 1000 + watch.INTERVAL_S
