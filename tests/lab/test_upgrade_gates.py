"""The ensemble's word in an upgrade, under load: what goes on with a member missing, and what is refused."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress

import pytest

from .conftest import NETWORK, Flow, Lab

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("site_put_back")]

Load = Callable[[], AbstractContextManager[Flow]]
MEMBERS = {"gw1": f"{NETWORK}11", "gpu1": f"{NETWORK}21", "gpu2": f"{NETWORK}22"}
SERVING = ("leader", "follower")
ELECTION_S = 3.0  # without its leader no member serves until the others have elected one: 0.4 s on two processors
# A member that is slow to answer is not down: a sample is late then, not wrong.
SLOW_S = 5.0


def mode(address: str) -> str:
    """What a member says of itself; "out" when it serves nobody, "" when there is no answer."""
    said = b""
    with suppress(OSError), socket.create_connection((address, 2181), timeout=SLOW_S) as connection:
        connection.sendall(b"srvr")
        while part := connection.recv(4096):
            said += part
    found = re.search(rb"^Mode: (\w+)", said, re.MULTILINE)
    return found.group(1).decode() if found else "out" if said else ""


def modes() -> dict[str, str]:
    with ThreadPoolExecutor(len(MEMBERS)) as pool:
        return dict(zip(MEMBERS, pool.map(mode, MEMBERS.values()), strict=True))


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, modes()
        time.sleep(0.2)


def whole() -> bool:
    return sorted(modes().values()) == ["follower", "follower", "leader"]


@pytest.fixture(autouse=True)
def members(lab: Lab, serving: str) -> Iterator[None]:
    """All members serve before a test, and after it."""
    until(whole)
    yield
    started(lab, *MEMBERS)


def leader() -> str:
    return next(name for name, what in modes().items() if what == "leader")


def followers() -> list[str]:
    return [name for name, what in modes().items() if what == "follower"]


def stopped(lab: Lab, *names: str) -> None:
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: lab.tell(name, "systemctl stop zookeeper"), names))


def started(lab: Lab, *names: str) -> None:
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: lab.tell(name, "systemctl start zookeeper"), names))
    until(whole)


@contextmanager
def outside_the_quorum(lab: Lab, name: str) -> Iterator[None]:
    """The member runs and answers its clients, but no other member hears it."""
    shown = json.loads(lab.run("lab", "status", "--json", "--site", str(lab.site)).stdout)
    argv = ["podman", "inspect", "--format", "{{.State.Pid}}", lab.machine(name)]
    environment = {**os.environ, **shown["podman_env"]}
    pid = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    rule = ["-p", "tcp", "-m", "multiport", "--ports", "2888,3888", "-j", "REJECT", "--reject-with", "tcp-reset"]
    table = ["nsenter", "--target", pid, "--net", "iptables", "--wait"]
    for chain in ("INPUT", "OUTPUT"):
        subprocess.run([*table, "-I", chain, *rule], check=True)
    try:
        yield
    finally:
        for chain in ("INPUT", "OUTPUT"):
            subprocess.run([*table, "-D", chain, *rule], check=True)


def test_a_member_out_of_the_quorum_is_warned_of_and_no_member_may_change(lab: Lab, load: Load, serving: str) -> None:
    """Its process runs and answers; it counts as down all the same."""
    name = followers()[-1]
    runs = len(lab.history()["runs"])
    other = lab.want_another(serving)
    with outside_the_quorum(lab, name):
        until(lambda: modes()[name] == "out")
        assert "not currently serving" in lab.tell(
            name, f"exec 3<>/dev/tcp/{MEMBERS[name]}/2181; echo srvr >&3; cat <&3"
        )
        refused = lab.upgrade("--component", "zookeeper", code=5).stderr
        assert "1 of 3 voters would serve, 2 are needed" in refused and "try: " in refused
        assert len(lab.history()["runs"]) == runs
        with load():
            said = lab.upgrade().stderr
        assert f"warning: ZooKeeper on {name} is down, 2 of 3 serve" in said
        assert lab.history()["runs"][-1]["outcome"] == "done"
    until(whole)
    assert lab.status()["release"].startswith(other)


def test_two_members_down_refuse_an_upgrade_before_anything_is_touched(lab: Lab, load: Load, serving: str) -> None:
    began, runs, down = lab.rotation(), lab.history()["runs"], followers()
    lab.want_another(serving)
    with load():
        stopped(lab, *down)
        refused = lab.upgrade(code=5).stderr
    assert re.search(r"no quorum: [01] of 3 voters serve, 2 are needed", refused)
    assert all(name in refused for name in down) and "try: " in refused
    assert lab.rotation() == began and lab.history()["runs"] == runs


def test_a_quorum_lost_between_two_routers_returns_every_request_and_the_same_again_goes_through(
    lab: Lab, load: Load, serving: str
) -> None:
    """Afterwards, in the run that goes through, the leader is restarted at the moment of the switch."""
    began, down = lab.rotation(), [leader(), followers()[0]]
    other = lab.want_another(serving)
    with load():
        with lab.begin("upgrade", DSDEPLOY_CRASH="switch.action#1=sleep:8") as running:
            running.until(f"ok  gw1: requests of gpu1 go to {other}-")
            stopped(lab, *down)
            assert lab.rotation()["gw1"] != lab.rotation()["gw2"]
            said = running.end(5)
        assert "of 3 voters serve, 2 are needed" in said and f"{serving} serves, on every host" in said
        assert f"... gw2: requests of gpu1 go to {other}-" not in said
        assert lab.rotation() == began
        started(lab, *down)
        last = lab.history()["runs"][-1]
        assert (last["outcome"], last["from"]) == ("returned", serving)
        with lab.begin("upgrade") as running:
            running.until("... soak before the switch")
            lab.tell(leader(), "systemctl restart zookeeper")
            running.end(0)
    until(whole)
    assert lab.status()["release"].startswith(other)


def count(seen: dict[str, str], *what: str) -> int:
    return sum(one in what for one in seen.values())


class Sampler(threading.Thread):
    """Asks every member each 100 ms, until told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()
        self.samples: list[tuple[float, dict[str, str]]] = []

    def run(self) -> None:
        due = time.monotonic()
        while not self.over.wait(max(0.0, due - time.monotonic())):
            self.samples.append((time.monotonic(), modes()))
            due += 0.1

    def __enter__(self) -> list[tuple[float, dict[str, str]]]:
        self.start()
        return self.samples

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def test_rolling_the_ensemble_takes_the_leader_last_and_keeps_a_majority(lab: Lab, load: Load, serving: str) -> None:
    """Two are up at any moment. They serve at any moment but one: when the leader itself goes, they elect another."""
    first = leader()
    size = 4 + int(re.findall(r"-Xmx(\d+)m", lab.tell(first, "pgrep -af zookeeper"))[0])
    lab.site.write_text(re.sub(r"heap: \d+MiB", f"heap: {size}MiB", lab.site.read_text()))
    with load(), Sampler() as samples:
        said = lab.upgrade("--component", "zookeeper").stderr
    order = re.findall(r"^ok  restart the ZooKeeper member on (\w+)", said, re.MULTILINE)
    assert sorted(order) == sorted(MEMBERS) and order[-1] == first
    assert len(samples) > 50 and min(count(seen, "out", *SERVING) for _, seen in samples) >= 2
    few = [at for at, seen in samples if count(seen, *SERVING) < 2]
    assert not few or few[-1] - few[0] < ELECTION_S, (few, samples)
    assert not [seen for at, seen in samples if at in few and seen[first] in SERVING]
    assert all(f"-Xmx{size}m" in lab.tell(name, "pgrep -af zookeeper") for name in MEMBERS)
    assert "0 changed" in lab.upgrade("--component", "zookeeper").stdout
    last = lab.history()["runs"][-1]
    assert (last["verb"], last["outcome"]) == ("members", "done")
