"""What keepalived is told about HAProxy, and when."""

from __future__ import annotations

import socket
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


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


def test_a_running_haproxy_answers(watch: ModuleType, router: Any) -> None:
    assert watch.ask(str(router.paths.socket)) is True


def test_the_file_is_written_when_the_verdict_changes_and_systemd_is_told(
    watch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, answers = tmp_path / "haproxy", iter([True, True, True, None, False, False, False, True, True, True])
    said: list[str] = []
    monkeypatch.setattr(watch, "ask", lambda path: next(answers))
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
