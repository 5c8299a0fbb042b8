"""What runs with older files than are there: a run that was killed after it wrote is taken up by the next."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import monitored
import pytest

FIGURE = "prometheus_config_last_reload_success_timestamp_seconds"
_spec = importlib.util.spec_from_file_location("monitor_units", monitored.ROLE / "library" / "monitor_units.py")
assert _spec is not None and _spec.loader is not None
units = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(units)


def entry(**more: Any) -> dict[str, Any]:
    return {"unit": "x.service", "start": [], "reload": [], "metrics": "", "loaded": "", **more}


def never() -> float:
    raise AssertionError("the server was asked without need")


def test_when_a_unit_became_active() -> None:
    said = "LoadState=loaded\nActiveState=active\nNeedDaemonReload=no\nActiveEnterTimestampMonotonic=40000000\n"
    assert units.since(units.shown(said), 100.0, 1000.0) == 940.0
    for state in ("inactive", "failed", "activating", "deactivating"):
        assert units.since({"ActiveState": state, "ActiveEnterTimestampMonotonic": "0"}, 100.0, 1000.0) is None
    assert units.since({}, 100.0, 1000.0) is None


def test_a_file_a_start_reads_means_a_restart_and_one_a_reload_reads_a_reload(tmp_path: Path) -> None:
    dropin, rules = tmp_path / "x.conf", tmp_path / "rules.yml"
    dropin.touch()
    rules.touch()
    one = entry(start=[str(dropin)], reload=[str(rules)])
    now, before = time.time() + 1, dropin.stat().st_ctime - 60
    assert units.state(one, None, [str(dropin)], never) == "started"  # its start reads everything
    assert units.state(one, now, [], never) == "started"
    assert units.state(one, before, [], never) == "restarted"
    reads = entry(reload=[str(rules)])
    assert units.state(reads, before, [], lambda: before) == "reloaded"
    assert units.state(reads, before, [], lambda: now) == "started"  # it has loaded them since
    assert units.state(reads, before, [], lambda: 0.0) == "reloaded"  # it does not answer
    # what check mode would write is not on disk
    assert units.state(one, now, [str(dropin)], never) == "restarted"
    assert units.state(reads, now, [str(rules)], never) == "reloaded"
    assert units.state(entry(start=[str(tmp_path / "absent")]), before, [], never) == "started"


def test_a_file_that_kept_its_time_through_a_rename_is_new_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.touch()
    os.utime(path, (1, 1))
    assert units.newer([str(path)], time.time() - 60) == [str(path)]


def test_the_figures_of_both_servers_are_read() -> None:
    for name in ("prometheus", "alertmanager"):
        said = (Path(__file__).parent / "scrapes" / f"{name}.prom").read_text()
        assert units.figure(said, f"{name}_config_last_reload_success_timestamp_seconds") > 1.7e9
    assert units.figure("", FIGURE) == 0.0 and units.figure("x 1\n", "") == 0.0


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A real one with a file of rules, for as long as the test."""
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus (Debian package)")
    (tmp_path / "rules.yml").write_text("groups: []\n")
    (tmp_path / "prometheus.yml").write_text(f"rule_files: [{tmp_path}/rules.yml]\n")
    port = _free()
    argv = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*argv, f"--storage.tsdb.path={tmp_path}/data"], **quiet)
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()


def _until(said: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if said():
            return True
        time.sleep(0.1)
    return False


def test_rules_that_a_killed_run_wrote_and_never_loaded_are_loaded_by_the_next(
    prometheus: tuple[subprocess.Popen[bytes], int], tmp_path: Path
) -> None:
    process, port = prometheus
    (tmp_path / "password").write_text("not asked for here")
    url = f"http://127.0.0.1:{port}/metrics"

    def loaded() -> float:
        return float(units.figure(units.ask(url, "dsdeploy", str(tmp_path / "password")), FIGURE))

    assert _until(lambda: loaded() > 0)
    began, one = loaded(), entry(reload=[str(tmp_path / "rules.yml")])
    assert units.state(one, began, [], loaded) == "started"
    time.sleep(0.05)
    (tmp_path / "rules.yml").write_text(
        "groups: [{name: a, rules: [{record: b, expr: vector(1)}]}]\n"
    )  # and killed here
    assert units.state(one, began, [], loaded) == "reloaded"
    process.send_signal(signal.SIGHUP)
    assert _until(lambda: units.state(one, began, [], loaded) == "started")


SYSTEMCTL = """#!/bin/sh
say() { printf 'LoadState=%s\\nActiveState=%s\\nNeedDaemonReload=%s\\nActiveEnterTimestampMonotonic=%s\\n' "$@"; }
case $4 in
a.*) say loaded active no 1 ;;
b.*) say loaded inactive no 0 ;;
c.*) say loaded inactive yes 0 ;;
*) say not-found inactive no 0 ;;
esac
"""


@pytest.mark.parametrize(
    ("also", "check", "wanted", "stale"),
    [
        ([], False, {"a.service": "restarted", "b.service": "started", "d.service": "started"}, False),
        (["c.service"], True, {"a.service": "restarted", "b.service": "started"}, True),
    ],
)
def test_the_module_as_ansible_starts_it(
    also: list[str], check: bool, wanted: dict[str, str], stale: bool, tmp_path: Path
) -> None:
    """systemctl alone is stood in for: no systemd runs where unit tests do."""
    dropin, tool = tmp_path / "x.conf", tmp_path / "systemctl"
    dropin.touch()
    tool.write_text(SYSTEMCTL)
    tool.chmod(0o755)
    listed = [{"unit": f"{name}.service", "start": [str(dropin)]} for name in "abd"]
    given = {"units": listed, "also": also, "_ansible_check_mode": check}
    words = json.dumps({"ANSIBLE_MODULE_ARGS": given})
    program = (
        "import runpy; from ansible.module_utils import basic; "
        f"basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = {words!r}.encode(), 'legacy'; "
        f"runpy.run_path({units.__file__!r}, run_name='__main__')"
    )
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    said = json.loads(done.stdout or "{}")
    assert done.returncode == 0, done.stderr + done.stdout
    assert ({one["unit"]: one["state"] for one in said["units"]}, said["daemon_reload"]) == (wanted, stale)
    assert said["changed"] is False


def test_a_server_that_does_not_answer_has_no_figures(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("x")
    assert units.ask(f"http://127.0.0.1:{_free()}/metrics", "dsdeploy", str(tmp_path / "password")) == ""
    assert units.ask("http://127.0.0.1:1/metrics", "dsdeploy", str(tmp_path / "absent")) == ""


def test_every_file_of_the_role_that_a_unit_reads_is_watched() -> None:
    """Handlers, and `changed` of a task, are forgotten when a run is killed: no task of the role goes by them alone."""
    for tasks in (monitored.ROLE / "tasks").glob("*.yml"):
        text = tasks.read_text()
        assert "notify:" not in text
        assert tasks.name == "run.yml" or "systemd_service" not in text, tasks
