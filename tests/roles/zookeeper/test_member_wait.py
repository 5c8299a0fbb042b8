"""What a member's answer means, and when waiting for it ends."""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROLE = Path(__file__).resolve().parents[3] / "roles" / "zookeeper"
LEADER = "Zookeeper version: 3.8.0-${mvngit.commit.id}, built on 2024-12-29\nZxid: 0x1\nMode: leader\nNode count: 5\n"
WAITING = "This ZooKeeper instance is not currently serving requests\n"
UNLISTED = "srvr is not executed because it is not in the whitelist.\n"


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


srvr = load("ansible.module_utils.dsdeploy_srvr", ROLE / "module_utils" / "dsdeploy_srvr.py")
member_wait = load("member_wait", ROLE / "library" / "member_wait.py")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (LEADER, "leader"),
        ("Mode: follower\n", "follower"),
        ("Mode: standalone\n", "standalone"),
        (WAITING, "waiting"),
        (UNLISTED, "waiting"),
        ("Mode: mode\n", "waiting"),
        ("", "waiting"),
        (None, "down"),
    ],
)
def test_mode(answer: str | None, expected: str) -> None:
    assert srvr.mode(answer) == expected


def test_ask_reads_to_the_end_and_says_none_when_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            link, _ = server.accept()
            with link:
                assert link.recv(4) == b"srvr"
                link.sendall(LEADER[:20].encode())
                link.sendall(LEADER[20:].encode())

        thread = threading.Thread(target=answer)
        thread.start()
        assert srvr.ask("127.0.0.1", port) == LEADER
        thread.join()
    assert srvr.ask("127.0.0.1", port, timeout=1.0) is None


class Ensemble:
    """Three members whose answers are a function of the time that the waiting itself makes pass."""

    def __init__(self, answers: Callable[[str, float], str | None]) -> None:
        self.answers = answers
        self.now = 0.0

    def wait(self, limit: float, alone: bool) -> tuple[str, int]:
        found: tuple[str, int] = member_wait.wait(
            "a", ["b", "c"], 2181, limit, alone, lambda address, port: self.answers(address, self.now),
            lambda: self.now, self.rest,
        )  # fmt: skip
        return found

    def rest(self, seconds: float) -> None:
        self.now += seconds


def test_a_member_that_serves_ends_the_waiting_at_once() -> None:
    ensemble = Ensemble(lambda address, now: LEADER)
    assert ensemble.wait(90, False)[0] == "leader"
    assert ensemble.now == 0.0


def test_an_election_is_waited_for() -> None:
    ensemble = Ensemble(lambda address, now: LEADER if now >= 12 else WAITING)
    assert ensemble.wait(90, True)[0] == "leader"
    assert ensemble.now == 12.0


def test_alone_it_is_not_waited_for_longer_than_the_others_may_take_to_start() -> None:
    ensemble = Ensemble(lambda address, now: WAITING if address == "a" else None)
    assert ensemble.wait(90, True) == ("waiting", 1)
    assert ensemble.now == member_wait.PATIENCE


def test_with_a_majority_up_the_whole_limit_is_given_and_then_it_is_a_failure() -> None:
    ensemble = Ensemble(lambda address, now: WAITING)
    assert ensemble.wait(90, True) == ("waiting", 3)
    assert ensemble.now == 90.0
    result = member_wait.verdict("waiting", 3, 3, 90, alone=True)
    assert result["failed"] and "3 of 3 members up, 2 needed" in result["msg"]


def test_a_member_that_never_answers_is_a_failure_even_alone() -> None:
    ensemble = Ensemble(lambda address, now: None)
    assert ensemble.wait(90, True) == ("down", 0)
    result = member_wait.verdict("down", 0, 3, 90, alone=True)
    assert result["failed"] and "does not answer" in result["msg"]


def test_too_few_up_is_no_failure_on_first_start_and_one_after_a_restart() -> None:
    first = member_wait.verdict("waiting", 1, 3, 90, alone=True)
    assert not first.get("failed") and not first["serving"]
    assert first["msg"] == "runs, but 1 of 3 members are up and 2 are needed to serve"
    assert member_wait.verdict("waiting", 1, 3, 90, alone=False)["failed"]
