"""A site that is measured: each fault reaches a real receiver as its alert and ends there; nothing asks in vain."""

from __future__ import annotations

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

from ..roles.monitor.monitored import NAME, captured, ours, queries
from . import gpu_world
from .alarms import Receiver, asked, instant, receiving
from .breaking import BACKED_UP, Fault, holder, phases
from .conftest import NETWORK, PROMPT, ROOT, Lab
from .graphics import Graphics
from .test_up import wait_for

pytestmark = [pytest.mark.lab, pytest.mark.drill]

PATIENCE_S = 120.0
UNITS = "prometheus prometheus-alertmanager prometheus-node-exporter dsdeploy-metrics.timer"
GPUS = {"gpu1": 2, "gpu2": 1}
# the timer looks and tells; it never acts, because engines are what these tests break
SECTION = """
health: {{interval: 5s, deadline: 1s, strikes: 100}}
monitor:
  scrape_interval: 2s
  webhook: "http://{address}:{port}/"
  thresholds:
    {{down: 2s, hung: 4s, latency: 20ms, latency_for: 4s, gpu_idle_for: 4s, recent: 20s, disk_critical: 0.1, disk: 0.12,
     burn_fast: 96s, burn_slow: 144s, backup: 1h, certificate: 7d, stuck: 1h}}
"""


@pytest.fixture(scope="module")
def receiver(lab: Lab) -> Iterator[Receiver]:
    """On this computer's own address in the lab's network."""
    with receiving(f"{NETWORK}1") as made:
        yield made


@pytest.fixture(scope="module")
def graphics(lab: Lab) -> dict[str, Graphics]:
    """By host; not put in yet."""
    return {host: Graphics(lab, host, count) for host, count in GPUS.items()}


@pytest.fixture(scope="module")
def measured(
    lab: Lab, receiver: Receiver, graphics: dict[str, Graphics], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """One `up` with sections `monitor` and `health`, then GPUs; afterwards nothing of it runs beside other tests."""
    lab.serving()
    before = lab.site.read_text()
    lab.site.write_text(before + SECTION.format(address=receiver.address, port=receiver.port))
    lab.up()
    library = gpu_world.compiled(tmp_path_factory.mktemp("nvml"))
    for one in graphics.values():
        one.put_in(library)
    yield lab
    lab.site.write_text(before)
    for one in graphics.values():
        one.take_out()
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


def seen(lab: Lab) -> dict[str, int]:
    """GPUs of each host that answer, as Prometheus has it."""
    found = instant(lab, 'dsdeploy_gpus{state="answering"}')
    return {one["metric"]["host"]: int(one["value"][1]) for one in found}


def firing(lab: Lab) -> list[str]:
    """The alerts that fire now, but for fail-overs and restarts that were."""
    return sorted(one["metric"]["alertname"] for one in instant(lab, 'ALERTS{alertstate="firing"}'))


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
    measured: Lab, receiver: Receiver, graphics: dict[str, Graphics], capsys: pytest.CaptureFixture[str]
) -> None:
    colours = measured.rotation()["gw1"]
    wait_for(lambda: seen(measured) == GPUS and firing(measured) == [], PATIENCE_S)
    rows = [("fault", "alert", "severity", "labels", "told after s", "ended after s")]
    try:
        holds = holder(measured)
        for number, faults in enumerate(phases(measured, colours, holds, **graphics)):
            with requests(measured, "gw1" if number == 0 or holds == "gw2" else "gw2"):
                rows += told(faults, receiver, measured)
            wait_for(lambda: measured.run("status", str(measured.site), code=None).returncode == 0, PATIENCE_S)
    finally:
        measured.tell("gw2", f"rm -f {BACKED_UP}")
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        with capsys.disabled():
            print()
            for row in rows:
                print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
            others = {word.labels["alertname"] for word in receiver.words} - {row[1] for row in rows}
            print(f"told beside these: {', '.join(sorted(others)) or 'nothing'}")
    assert len(rows) > 15


def test_what_rules_and_dashboards_ask_for_is_emitted_and_no_query_fails(
    measured: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    rules, names = asked(measured, "/api/v1/rules", "/api/v1/label/__name__/values")
    groups = [rule for group in rules["data"]["groups"] for rule in group["rules"]]
    assert [(rule["name"], rule["lastError"]) for rule in groups if rule["health"] != "ok"] == []
    panels = [text.replace("$host", ".*") for text in queries()]
    answers = asked(measured, *(f"/api/v1/query?query={quote(text)}" for text in panels))
    failed = [(text, said) for text, said in zip(panels, answers, strict=True) if said["status"] != "success"]
    assert failed == [] and len(panels) > 30
    live, documented = set(names["data"]), captured() | ours()
    recorded = {rule["name"] for rule in groups if ":" in rule["name"]}
    wanted = {name for text in [*(rule["query"] for rule in groups), *panels] for name in NAME.findall(text)}
    absent = wanted - live - recorded
    where = {name: documented.get(name, "") for name in absent}
    assert {name for name, file in where.items() if not file} == set()
    with capsys.disabled():
        print(f"\n{len(wanted)} names: {len(wanted & live)} live, {len(wanted & recorded - live)} records without data")
        for file in sorted(set(where.values())):
            print(f"  from {file}: {', '.join(sorted(name for name in where if where[name] == file))}")


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
