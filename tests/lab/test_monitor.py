"""A site that is measured: each fault reaches a real receiver as its alert and ends there; nothing asks in vain."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from threading import Event, Thread
from time import monotonic
from urllib.parse import quote

import pytest

from dsdeploy.site import load as load_site

from ..roles.monitor.monitored import captured
from .alarms import Receiver, asked, receiving
from .breaking import Fault, Measured, phases
from .conftest import NETWORK, PROMPT, ROOT, Lab
from .test_up import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.drill]

BOARDS = sorted((ROOT / "roles" / "monitor" / "files" / "grafana").glob("*.json"))
PATIENCE_S = 120.0
UNITS = "prometheus prometheus-alertmanager prometheus-node-exporter dsdeploy-metrics.timer"
SECTION = """
monitor:
  scrape_interval: 2s
  webhook: "http://{address}:{port}/"
  thresholds:
    {{down: 2s, hung: 4s, latency: 20ms, latency_for: 4s, gpu_idle_for: 4s, recent: 20s, disk_critical: 0.1, disk: 0.12,
     burn_fast: 96s, burn_slow: 144s, backup: 1h, certificate: 7d, stuck: 1h}}
"""
NAME = re.compile(
    r"(?<![\w:\".])((?:dsdeploy|vllm|sglang|llamacpp|nv|haproxy|node|zk|DCGM|prometheus|alertmanager)[_:][\w:]+)"
)


@pytest.fixture(scope="module")
def receiver(lab: Lab) -> Iterator[Receiver]:
    """On this computer's own address in the lab's network."""
    with receiving(f"{NETWORK}1") as made:
        yield made


@pytest.fixture(scope="module")
def measured(lab: Lab, receiver: Receiver) -> Iterator[Lab]:
    """One `up` with a section `monitor`; afterwards nothing of it runs beside other tests."""
    lab.serving()
    before = lab.site.read_text()
    lab.site.write_text(before + SECTION.format(address=receiver.address, port=receiver.port))
    lab.up()
    yield lab
    lab.site.write_text(before)
    for host in ("gw1", "gw2", "gpu1", "gpu2"):
        lab.tell(host, f"systemctl disable --now {UNITS}", check=False)


@contextmanager
def requests(lab: Lab, router: str) -> Iterator[None]:
    """A few requests a second until the block ends; what becomes of them is Prometheus' to tell."""
    ended = Event()

    def ask() -> None:
        while not ended.wait(0.25):
            try:
                lab.ask(body=PROMPT | {"max_tokens": 64}, router=router)
            except OSError:
                continue

    thread = Thread(target=ask, daemon=True)
    thread.start()
    yield
    ended.set()
    thread.join(60)


def firing(lab: Lab) -> list[str]:
    """The alerts that fire now, but for fail-overs and restarts that were."""
    (answer,) = asked(lab, '/api/v1/query?query=ALERTS{alertstate="firing"}'.replace("{", "%7B").replace("}", "%7D"))
    return sorted(one["metric"]["alertname"] for one in answer["data"]["result"])


def told(faults: list[Fault], receiver: Receiver, lab: Lab) -> Iterator[tuple[str, ...]]:
    """Make them all, wait for every alert, mend them all, wait for every end: a row for each."""
    begun, site = monotonic(), load_site(lab.site).site
    rows = []
    try:
        for fault in faults:
            fault.make()
        for fault in faults:
            labels = {"alertname": fault.alert, "site": site, "severity": fault.severity, **fault.labels}
            word = receiver.until("firing", labels, begun, begun + PATIENCE_S)
            assert fault.labels.get("host", site) in word.annotations["summary"], word
            assert word.annotations["runbook"].endswith(f"#{fault.alert.lower()}")
            rows.append((fault, labels, word.at))
    finally:
        mended = monotonic()
        for fault in faults:
            fault.mend()
    for fault, labels, at in rows:
        end = receiver.until("resolved", labels, at, mended + PATIENCE_S).at
        where = " ".join(f"{key}={value}" for key, value in fault.labels.items())
        yield fault.what, fault.alert, fault.severity, where, f"{at - begun:.0f}", f"{max(end - mended, 0):.0f}"


def test_each_fault_is_told_by_its_alert_and_ends_with_it(
    measured: Lab, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = measured.rotation()["gw1"]
    gpu1, gpu2, gw2 = (Measured(measured, host) for host in ("gpu1", "gpu2", "gw2"))
    gpu1.say(xid=0, ecc=0, hot=0, gpu0=0.9, gpu1=0.9)
    gpu2.say(gpu0=0.9)
    wait_for(lambda: firing(measured) == [], PATIENCE_S)
    rows = [("fault", "alert", "severity", "labels", "told after s", "ended after s")]
    try:
        for number, faults in enumerate(phases(measured, colours, gpu1, gpu2, gw2)):
            with requests(measured, "gw1" if number == 0 else "gw2"):
                rows += told(faults, receiver, measured)
            wait_for(lambda: measured.run("status", str(measured.site), code=None).returncode == 0, PATIENCE_S)
    finally:
        for one in (gpu1, gpu2, gw2):
            one.forget()
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        with capsys.disabled():
            print()
            for row in rows:
                print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
            others = {word.labels["alertname"] for word in receiver.words} - {row[1] for row in rows}
            print(f"told beside these: {', '.join(sorted(others)) or 'nothing'}")
    assert len(rows) > 15


# what only GPUs and backups bring about is written by a program of ours, which has tests of its own
OURS = {
    "dsdeploy_gpu": "roles/health/files/gpu/gpu_metrics.py",
    "dsdeploy_backup": "roles/backup/files/dsdeploy_backup/metrics.py",
    "dsdeploy_verify": "roles/backup/files/dsdeploy_backup/nightly.py",
}


def test_what_rules_and_dashboards_ask_for_is_emitted_and_no_query_fails(
    measured: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    rules, names = asked(measured, "/api/v1/rules", "/api/v1/label/__name__/values")
    groups = [rule for group in rules["data"]["groups"] for rule in group["rules"]]
    assert [(rule["name"], rule["lastError"]) for rule in groups if rule["health"] != "ok"] == []
    panels = [
        target["expr"].replace("$host", ".*")
        for board in BOARDS
        for panel in json.loads(board.read_text())["panels"]
        for target in panel["targets"]
    ]
    answers = asked(measured, *(f"/api/v1/query?query={quote(text)}" for text in panels))
    failed = [(text, said) for text, said in zip(panels, answers, strict=True) if said["status"] != "success"]
    assert failed == [] and len(panels) > 30
    live, seen = set(names["data"]), captured()
    recorded = {rule["name"] for rule in groups if ":" in rule["name"]}
    wanted = {name for text in [*(rule["query"] for rule in groups), *panels] for name in NAME.findall(text)}
    absent = wanted - live - recorded
    where = {name: seen.get(name) or source(name) for name in absent}
    assert {name for name, file in where.items() if not file} == set()
    with capsys.disabled():
        print(f"\n{len(wanted)} names: {len(wanted & live)} live, {len(wanted & recorded - live)} records without data")
        for file in sorted(set(where.values())):
            print(f"  from {file}: {', '.join(sorted(name for name in where if where[name] == file))}")


def source(name: str) -> str:
    """The program of ours that writes this name; "" when none says so."""
    file = next((file for start, file in OURS.items() if name.startswith(start)), "")
    short = name.removeprefix("dsdeploy_").removeprefix("backup_").removeprefix("verify_")
    return file if file and f'"{short}"' in (ROOT / file).read_text() else ""


def test_status_says_how_busy_hosts_are(measured: Lab) -> None:
    def busy() -> bool:
        figures = {name: host["figures"] for name, host in measured.status(code=None)["hosts"].items()}
        assert all(0 < figures[name]["disk_used"] < 1 for name in figures)
        rates = (figures[name].get("tokens_per_second", 0) for name in ("gpu1", "gpu2"))
        return max(rates) > 0 and figures["gw2"].get("requests_per_second", 0) > 0

    with requests(measured, "gw2"):
        wait_for(busy)


def test_watch_redraws_on_a_terminal_of_80_columns_until_ctrl_c(measured: Lab) -> None:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    argv = [sys.executable, "-m", "dsdeploy", "status", str(measured.site), "--watch"]
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=terminal())
    os.close(theirs)
    said = b""
    try:
        while said.count(b"Ctrl-C ends") < 2:
            said += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        said += rest(ours)
        assert process.wait(30) == 130
    finally:
        process.kill()
        os.close(ours)
    drawn, after = said.decode().split("\x1b[?1049l")
    assert "is healthy" in after and "Traceback" not in after
    assert re.search(r"\x1b\[\d*[JK]", drawn) is None  # nothing is cleared before it is drawn
    for frame in drawn.split("\x1b[H"):
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame)
        assert max(len(line.rstrip("\r")) for line in plain.split("\n")) <= 80


def terminal() -> dict[str, str]:
    return {**os.environ, "TERM": "xterm-256color"}


def rest(descriptor: int) -> bytes:
    """What is still to come; Linux says EIO when the other side is gone."""
    found = b""
    try:
        while piece := os.read(descriptor, 65536):
            found += piece
    except OSError:
        return found
    return found
