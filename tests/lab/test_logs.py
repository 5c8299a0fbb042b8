"""Logs on machines: far more than may stay, written fast under load; and what can go wrong with a rotation."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from .conftest import Flow, Lab
from .keeping import kept, leave
from .test_up import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.drill]

Load = Callable[[], AbstractContextManager[Flow]]
MIB = 2**20
TOTAL, JOURNAL = 200 * MIB, 64 * MIB
SECTION = "\nlogs: {total: 200MiB, journal: 64MiB}\n"
FLOOD, RATE = 2 * 10**9, 200 * 10**6  # bytes, and bytes a second: as much as a disk takes for long
# The watch looks each 0.1 s, so a tenth of a second's bytes may be over the total. This computer's two processors
# also have the load, the engines and this test: the watch may have to wait for one some tenths more.
LATE_S = 0.5
LOGS = "/var/log/dsdeploy"
PROGRAM = (Path(__file__).parent / "flood.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bounded(lab: Lab) -> Iterator[Lab]:
    """The lab's site with the section `logs`, timer once an hour; without it again afterwards."""
    lab.serving()
    before = lab.site.read_text()
    lab.site.write_text(before + SECTION)
    lab.up("--only", "backup")
    lab.tell("gpu1", f"mkdir -p {LOGS}")
    yield lab
    lab.tell("gpu1", f"rm -rf {LOGS} /etc/dsdeploy/logrotate/more.d/drill")
    leave(lab, before)


def flooded(lab: Lab, *words: str) -> dict[str, float]:
    """What flood.py saw on gpu1."""
    line = shlex.join(["env", f"FLOOD={PROGRAM}", "python3", "-c", PROGRAM, *words])
    found: dict[str, float] = json.loads(lab.tell("gpu1", line))
    print(words[0], found)
    return found


def now(lab: Lab) -> int:
    """gpu1's clock, in whole seconds: journals are read from here on."""
    return int(lab.tell("gpu1", "date +%s"))


def said(lab: Lab, unit: str, since: int) -> str:
    return lab.tell("gpu1", f"journalctl -q --no-pager -o cat -u {unit} --since @{since}")


def warnings(lab: Lab) -> list[str]:
    """What `status` has against gpu1's logs; the site serves all the same."""
    return [one for one in lab.status()["hosts"]["gpu1"]["warnings"] if one.startswith("logs:")]


def test_two_gigabytes_against_a_cap_of_200_mib_under_load(bounded: Lab, load: Load) -> None:
    lab, since = bounded, now(bounded)
    with load():
        found = flooded(lab, LOGS, "file", f"{LOGS}/flood.log", str(FLOOD), str(RATE))
    assert found["samples"] > 100
    assert found["peak"] <= TOTAL + LATE_S * found["rate"], found
    assert found["last"] <= TOTAL, found
    assert "flood.log was cut by" in said(lab, "dsdeploy-logs-watch", since)
    gone = lab.tell("gpu1", "cat /var/lib/prometheus/node-exporter/dsdeploy_logs_watch.prom").split()[-1]
    assert int(gone) > 10**9
    assert lab.tell("gpu1", f"ls {LOGS}/flood.log.1*")  # rotated, an hour before its time
    assert warnings(lab) == [] and kept(lab)["gpu1"]["logs_ok"]


def test_a_program_that_floods_the_journal_under_load(bounded: Lab, load: Load) -> None:
    """Engines write there. journald keeps the bound by itself, to a file (an eighth) more."""
    lab = bounded
    writes = ("systemd-run", "--quiet", "--wait", "--unit", "drill-flood", "sh", "-c")
    with load():
        found = flooded(lab, "/var/log/journal", "run", *writes, "yes $(seq -s. 400) | head -c 600000000")
    assert found["samples"] > 100 and found["peak"] <= JOURNAL * 9 / 8, found


def test_a_state_file_that_was_cut_short(bounded: Lab) -> None:
    lab, since = bounded, now(bounded)
    lab.tell("gpu1", "systemctl start dsdeploy-logs && truncate -s 40 /var/lib/dsdeploy/logrotate/state")
    lab.tell("gpu1", f"rm -f {LOGS}/* && head -c 60000000 /dev/urandom >> {LOGS}/drill.log")
    wait_for(lambda: "the state file was damaged: moved to" in said(lab, "dsdeploy-logs", since), 30)
    wait_for(lambda: "drill.log.1" in lab.tell("gpu1", f"ls {LOGS}"), 30)
    prom = "/var/lib/prometheus/node-exporter/dsdeploy_logs.prom"
    wait_for(lambda: "state_damaged 1" in lab.tell("gpu1", f"cat {prom}"), 30)
    assert warnings(lab) == []


@contextmanager
def small_disk(lab: Lab) -> Iterator[None]:
    """The folder of logs as a file system of 80 MiB, less than the total. In a container a service that runs does not
    see what is mounted after its start, as it would on a machine."""
    again = "systemctl restart dsdeploy-logs-watch"
    lab.tell("gpu1", f"rm -rf {LOGS}/* && mount -t tmpfs -o size=80m tmpfs {LOGS} && {again}")
    try:
        yield
    finally:
        lab.tell("gpu1", f"umount -l {LOGS} && {again}")


def test_a_disk_that_is_full(bounded: Lab, load: Load) -> None:
    """No room for a copy, so no rotation: the log is cut, and its writer can go on."""
    lab, since = bounded, now(bounded)
    free = f"df --output=avail -B1 {LOGS} | tail -1"
    with small_disk(lab), load():
        lab.tell("gpu1", f"head -c 100000000 /dev/urandom >> {LOGS}/drill.log", check=False)
        wait_for(lambda: int(lab.tell("gpu1", free)) > 70 * MIB, 60)
        lab.tell("gpu1", f"echo a line >> {LOGS}/drill.log")
        assert "drill.log was cut by" in said(lab, "dsdeploy-logs", since)
        assert warnings(lab) == ["logs: the last rotation failed: journalctl -u dsdeploy-logs.service"]
    lab.tell("gpu1", "systemctl start dsdeploy-logs")
    assert warnings(lab) == []


RULE = """/var/log/drill.log {
    size 1k
    rotate 2
    postrotate
        systemctl kill -s HUP drill-writer.service
    endscript
}
"""


def test_a_writer_that_cannot_be_signalled(bounded: Lab) -> None:
    """dsdeploy's own rules signal nobody; one that somebody added may, and its unit may be gone."""
    lab = bounded
    rule = f"printf %s {shlex.quote(RULE)} > /etc/dsdeploy/logrotate/more.d/drill"
    write = f"head -c 5000 /dev/urandom > /var/log/drill.log; head -c 60000000 /dev/urandom >> {LOGS}/other.log"
    since = now(lab)
    lab.tell("gpu1", f"rm -rf {LOGS}/*; {rule}; {write}")
    wait_for(lambda: "error running" in said(lab, "dsdeploy-logs", since), 30)
    wait_for(lambda: "other.log.1" in lab.tell("gpu1", f"ls {LOGS}"), 30)
    assert warnings(lab) == ["logs: the last rotation failed: journalctl -u dsdeploy-logs.service"]
    lab.tell("gpu1", "systemd-run --quiet --unit drill-writer sh -c 'trap : HUP; while :; do sleep 1; done'")
    try:
        lab.tell("gpu1", f"{write} && systemctl start dsdeploy-logs")
        assert warnings(lab) == []
    finally:
        lab.tell("gpu1", "systemctl stop drill-writer; rm -f /var/log/drill.log* /etc/dsdeploy/logrotate/more.d/drill")
