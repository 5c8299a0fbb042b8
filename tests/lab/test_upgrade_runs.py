"""Runs that meet, pause, are stopped, and go on elsewhere; the other strategy; the way back. Under load, all of it."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGSTOP, SIGTERM

import pytest

from dsdeploy import journal

from .conftest import MODEL, Flow, Lab

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("site_put_back")]

Load = Callable[[], AbstractContextManager[Flow]]
ALL = ("gw1", "gw2", "gpu1", "gpu2")


@pytest.fixture
def elsewhere(lab: Lab, tmp_path: Path) -> Lab:
    """A second checkout: the site file and the keys, and nothing that any run has left."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("site.yml", "id_ed25519", "known_hosts"):
        shutil.copy2(lab.folder / name, folder)
    return Lab(folder)


def epochs(lab: Lab) -> dict[str, str]:
    return {name: lab.tell(name, "cat /var/lib/dsdeploy/epoch") for name in ALL}


def records(lab: Lab) -> list[object]:
    """The journal of the newest run that this checkout has."""
    newest = max((lab.folder / ".dsdeploy" / "e2e" / "runs").glob("*-upgrade"))
    return list(journal.read(newest / journal.NAME))


def test_two_at_once_and_a_paused_one_is_fenced(lab: Lab, load: Load, serving: str, elsewhere: Lab) -> None:
    other = lab.want_another(serving)
    lab.edit("soak: 2s", "soak: 5s")
    shutil.copy2(lab.site, elsewhere.site)
    with load(), lab.begin("upgrade") as first:
        first.until(f"... start {other}-")
        second = lab.upgrade(code=75).stderr
        assert "the deploy lock is held by" in second and f"pid {first.pid}" in second
        first.until("... soak before the switch")
        first.signal(SIGSTOP)
        before = records(lab)
        held = elsewhere.run("resume", str(elsewhere.site), "--yes", code=75).stderr
        assert f"pid {first.pid}" in held
        deadline = time.monotonic() + 60
        while elsewhere.run("resume", str(elsewhere.site), "--yes", code=None).returncode == 75:
            assert time.monotonic() < deadline
        assert lab.status()["release"].startswith(other)
        rotation, seen = lab.rotation(), epochs(lab)
        first.signal(SIGCONT)
        said = first.end(75)
        assert "this run has lost the deploy lock" in said and "nothing more was done" in said
        assert records(lab) == before
        assert (lab.rotation(), epochs(lab)) == (rotation, seen)
    assert lab.history()["runs"][-1]["outcome"] == "done"


def test_stopped_in_a_switch_resumed_elsewhere_and_aborted_after_the_canary(
    lab: Lab, load: Load, serving: str, elsewhere: Lab
) -> None:
    began = lab.rotation()
    other = lab.want_another(serving)
    shutil.copy2(lab.site, elsewhere.site)
    with load():
        with lab.begin("upgrade") as running:
            running.until(f"... gw1: requests of gpu1 go to {other}-")
            running.signal(SIGTERM)
            said = running.end(130)
        assert f"ok  gw1: requests of gpu1 go to {other}-" in said and "... gw2: requests" not in said
        assert lab.rotation()["gw1"]["gpu1"] != lab.rotation()["gw2"]["gpu1"]
        with elsewhere.begin("resume") as running:
            running.until("... soak after the switch of gpu1")
            running.signal(SIGINT)
            running.end(130)
        left = lab.history()["runs"][-1]
        assert (left["outcome"], left["step"]) == ("unfinished", "switch")
        lab.run("abort", str(lab.site), "--yes")
    assert lab.rotation() == began and lab.status()["release"] == serving
    assert lab.history()["runs"][-1]["outcome"] == "aborted"


@contextmanager
def endless(lab: Lab) -> Iterator[socket.socket]:
    """A stream that does not come to its end: more than all buffers hold, and its caller does not read on."""
    asked = {"model": MODEL, "prompt": "Count.", "max_tokens": 4000, "stream": True, "ignore_eos": True, "n_probs": 40}
    body = json.dumps(asked)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((lab.address("gw1"), 8000))
        connection.sendall(f"{head}\r\n\r\n{body}".encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 200")
        yield connection


def test_back_again_in_turn_with_a_stream_that_outlives_the_drain_time(lab: Lab, load: Load, serving: str) -> None:
    lab.edit("strategy: auto", "strategy: in-turn")
    lab.edit("drain: 5m", "drain: 2s")
    past = [run for run in lab.history()["runs"] if run["outcome"] == "done" and run["to"] == serving][-1]
    with load(), endless(lab):
        done = lab.run("rollback", str(lab.site), "--yes", "--json")
    summary = json.loads(done.stdout)
    assert (summary["release"], summary["from"], summary["strategy"]) == (past["from"], serving, "in-turn")
    assert summary["cut"] == 1 and "1 requests were cut after 2 s of draining" in done.stderr
    for host in ("gpu1", "gpu2"):
        assert f"{host}: stop the old release, start {past['from']}" in done.stderr
    assert lab.status()["release"] == past["from"]


def test_nothing_to_roll_back_and_what_history_tells(lab: Lab, serving: str) -> None:
    before = lab.history()
    again = lab.run("rollback", str(lab.site), "--yes").stdout
    assert "nothing to roll back" in again and serving in again
    assert "nothing to resume" in lab.run("resume", str(lab.site), "--yes").stdout
    assert lab.history() == before
    last = before["runs"][-1]
    assert (last["verb"], last["outcome"], last["to"]) == ("rollback", "done", serving)
    assert last["who"].count("@") == 1 and last["at"] and last["epoch"] > before["runs"][-2]["epoch"]
    releases = {one["release"]: one for one in before["releases"]}
    assert releases[serving]["serving"] and releases[last["from"]]["whole"] and not releases[last["from"]]["serving"]
    shown = lab.run("history", str(lab.site)).stdout
    assert all(word in shown for word in (serving, last["from"], last["run"], "serves", "done", "aborted"))
    returned = [run for run in before["runs"] if run["outcome"] in ("returned", "aborted")]
    assert returned and all(run["to"] != run["from"] for run in returned)


def test_downtime_is_asked_for(lab: Lab, serving: str) -> None:
    lab.want_another(serving)
    lab.edit("22, roles: [engine, zookeeper]", "22, roles: [zookeeper]")
    lab.edit("strategy: auto", "strategy: in-turn")
    refused = lab.run("plan", str(lab.site), code=1)
    assert "gpu1 is the only engine host and cannot hold two releases" in refused.stderr
    assert "--allow-downtime" in refused.stderr
    allowed = lab.run("plan", str(lab.site), "--allow-downtime")
    assert "requests fail from the stop of the old release until the new one answers" in allowed.stdout
