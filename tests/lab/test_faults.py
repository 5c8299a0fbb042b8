"""What goes wrong on machines: each ends in one clear error with host and next command, and the next `up` completes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from .conftest import ROOT, Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def serving(lab: Lab) -> str:
    return lab.serving()


@contextmanager
def held_package_lock(lab: Lab, host: str) -> Iterator[str]:
    """The process that holds it."""
    holder = (
        "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w');"
        " fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(600)"
    )
    lab.ssh(host, f'systemd-run --quiet --unit hold-lock python3 -c "{holder}"')
    try:
        yield lab.ssh(host, "systemctl show -p MainPID --value hold-lock").strip()
    finally:
        lab.ssh(host, "systemctl stop hold-lock")


@contextmanager
def full_disk(lab: Lab, host: str) -> Iterator[None]:
    lab.ssh(host, "mkdir -p /mnt/small && mount -t tmpfs -o size=8m tmpfs /mnt/small && mkdir -p /mnt/small/w")
    lab.ssh(host, "mount --bind /mnt/small /srv/dsdeploy")
    try:
        yield
    finally:
        lab.ssh(host, "umount /srv/dsdeploy && umount /mnt/small")


@contextmanager
def taken_port(lab: Lab, host: str) -> Iterator[None]:
    lab.ssh(host, "systemctl stop haproxy && systemd-run --quiet --unit squatter python3 -m http.server 8000")
    try:
        deadline = monotonic() + 20
        while "LISTEN" not in lab.ssh(host, "ss -Hltn 'sport = 8000'") and monotonic() < deadline:
            sleep(0.5)
        yield
    finally:
        lab.ssh(host, "systemctl stop squatter")


def test_a_held_lock_a_full_disk_and_a_taken_port_are_told_at_once_and_the_next_up_completes(
    lab: Lab, serving: str
) -> None:
    with ExitStack() as faults:
        pid = faults.enter_context(held_package_lock(lab, "gpu2"))
        faults.enter_context(full_disk(lab, "gpu1"))
        faults.enter_context(taken_port(lab, "gw2"))
        refused = lab.up(code=1).stderr
    told = [block for block in refused.split("error: ") if "try: " in block]
    for words in (("gpu2", f"pid {pid}"), ("gpu1", "/srv", "free"), ("port 8000 on gw2", "python3")):
        assert [block for block in told if all(word in block for word in words)], (words, refused)
    assert "... prepare hosts" not in refused
    lab.up()
    assert lab.status()["healthy"] is True
    assert lab.status()["release"] == serving


@pytest.fixture
def cut(lab: Lab) -> Iterator[list[str]]:
    """Rules that drop a host's packets on the lab's bridge; taken away afterwards."""
    rules: list[str] = []
    yield rules
    for address in list(rules):
        heal(address, rules)


def drop(address: str, rules: list[str]) -> None:
    rules.append(address)
    for chain, side in (("INPUT", "-s"), ("OUTPUT", "-d")):
        subprocess.run(["iptables", "-I", chain, side, address, "-j", "DROP"], check=True)


def heal(address: str, rules: list[str]) -> None:
    rules.remove(address)
    for chain, side in (("INPUT", "-s"), ("OUTPUT", "-d")):
        subprocess.run(["iptables", "-D", chain, side, address, "-j", "DROP"], check=True)


def test_a_dead_host_is_unreachable_before_anything_starts(lab: Lab, serving: str, cut: list[str]) -> None:
    drop("10.90.1.22", cut)
    refused = lab.up(code=4).stderr
    assert "gpu2" in refused and "10.90.1.22" in refused
    assert "... prepare hosts" not in refused


def test_a_host_lost_in_the_middle_stops_up_and_the_next_one_completes(
    lab: Lab, serving: str, cut: list[str], tmp_path: Path
) -> None:
    log = (tmp_path / "up.log").open("w+")
    argv = [sys.executable, "-m", "dsdeploy", "up", str(lab.site), "--yes"]
    running = subprocess.Popen(argv, stdout=log, stderr=log, cwd=ROOT)
    deadline = monotonic() + 120
    while "... prepare hosts" not in Path(log.name).read_text():
        assert running.poll() is None and monotonic() < deadline
        sleep(0.2)
    sleep(3)  # into the play
    drop("10.90.1.22", cut)
    assert running.wait(timeout=300) == 4, Path(log.name).read_text()
    shown = Path(log.name).read_text()
    assert "gpu2" in shown and "try: " in shown and "Traceback" not in shown
    heal("10.90.1.22", cut)
    lab.up()
    assert lab.status()["release"] == serving


def test_two_ups_at_once_one_runs_the_other_says_who(lab: Lab, serving: str, tmp_path: Path) -> None:
    log = (tmp_path / "first.log").open("w+")
    argv = [sys.executable, "-m", "dsdeploy", "up", str(lab.site), "--yes"]
    first = subprocess.Popen(argv, stdout=log, stderr=log, cwd=ROOT)
    deadline = monotonic() + 120
    while "... prepare hosts" not in Path(log.name).read_text():
        assert first.poll() is None and monotonic() < deadline
        sleep(0.2)
    second = lab.up(code=75)
    assert "the deploy lock is held by" in second.stderr and f"pid {first.pid}" in second.stderr
    assert first.wait(timeout=600) == 0, Path(log.name).read_text()
