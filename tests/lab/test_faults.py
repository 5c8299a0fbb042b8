"""What goes wrong on machines: each ends in one clear error with host and next command, and the next `up` completes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from .conftest import ROOT, Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def serving(lab: Lab) -> str:
    return lab.serving()


def podman(lab: Lab, *words: str) -> str:
    shown = json.loads(lab.run("lab", "status", "--json", "--site", str(lab.site), code=None).stdout)
    environment = os.environ | shown["podman_env"]
    return subprocess.run(["podman", *words], env=environment, capture_output=True, text=True, check=True).stdout


def test_a_held_package_lock_is_named_with_its_holder(lab: Lab, serving: str) -> None:
    holder = (
        "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w');"
        " fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(600)"
    )
    lab.ssh("gpu2", f'systemd-run --quiet --unit hold-lock python3 -c "{holder}"')
    pid = lab.ssh("gpu2", "systemctl show -p MainPID --value hold-lock").strip()
    try:
        refused = lab.up(code=1).stderr
        assert "gpu2" in refused and f"pid {pid}" in refused and "try: " in refused
    finally:
        lab.ssh("gpu2", "systemctl stop hold-lock")
    lab.up()


def test_a_full_disk_is_named_with_what_is_missing(lab: Lab, serving: str) -> None:
    lab.ssh("gpu1", "mkdir -p /mnt/small && mount -t tmpfs -o size=8m tmpfs /mnt/small && mkdir -p /mnt/small/w")
    lab.ssh("gpu1", "mount --bind /mnt/small /srv/dsdeploy")
    try:
        refused = lab.up(code=1).stderr
        assert "gpu1" in refused and "/srv" in refused and "free" in refused and "try: " in refused
    finally:
        lab.ssh("gpu1", "umount /srv/dsdeploy && umount /mnt/small")
    assert "0 changed" in lab.up().stderr


def test_a_taken_port_is_named_with_its_owner(lab: Lab, serving: str) -> None:
    lab.ssh("gw2", "systemctl stop haproxy && systemd-run --quiet --unit squatter python3 -m http.server 8000")
    try:
        deadline = monotonic() + 20
        while "LISTEN" not in lab.ssh("gw2", "ss -Hltn 'sport = 8000'") and monotonic() < deadline:
            sleep(0.5)
        refused = lab.up(code=1).stderr
        assert "port 8000 on gw2" in refused and "python3" in refused
    finally:
        lab.ssh("gw2", "systemctl stop squatter")
    lab.up()
    assert lab.status()["healthy"] is True


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
