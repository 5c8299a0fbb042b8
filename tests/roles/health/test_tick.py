"""Whole looks of the health timer: a real engine stub over HTTP, a stand-in for systemctl, a fake NVML.

What stands in for systemd keeps the units' properties in a file and notes what it is told; what it would do to a
process is not done. Permits are granted or refused by the test; the real ones have a test of their own.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dsdeploy_health as health
import health_engine as engine
import health_gpus
import health_permit as permit
import health_runs as runs
import health_zk
import pytest

from .conftest import FILES, gpus

SYSTEMCTL = """#!/bin/sh
echo "$*" >> {told}
case "$1" in show) cat {units};; esac
"""
WELL: dict[str, Any] = {"problems": [], "broken": "", "hung": None}  # what most tests have for a GPU report
RUNNING = {"ActiveState": "active", "SubState": "running", "Result": "success", "UnitFileState": "enabled"}
STOPPED = {"ActiveState": "inactive", "SubState": "dead", "Result": "success", "UnitFileState": "disabled"}


LLAMACPP = "llamacpp:tokens_predicted_total {moving}\n"
# a long answer is under way: what counts finished requests stands, what counts the work itself moves
BUSY = {
    "llamacpp": "llamacpp:tokens_predicted_total 90\nllamacpp:prompt_tokens_total 40\n"
    "llamacpp:n_decode_total {moving}\n",
    "vllm": 'vllm:prompt_tokens_total{{engine="0",model_name="m"}} 40.0\n'
    'vllm:generation_tokens_total{{engine="0",model_name="m"}} {moving}.0\n',
    "sglang": 'sglang:prompt_tokens_total{{model_name="m"}} 40.0\n'
    'sglang:generation_tokens_total{{model_name="m"}} 90.0\n'
    'sglang:realtime_tokens_total{{mode="prefill_compute",model_name="m",tp_rank="0"}} 40.0\n'
    'sglang:realtime_tokens_total{{mode="decode",model_name="m",tp_rank="0"}} {moving}.0\n',
    "triton": 'nv_inference_request_success{{model="m",version="1"}} 3\nnv_inference_count{{model="m",version="1"}} 3\n'
    'nv_inference_exec_count{{model="m",version="1"}} {moving}\n',
}


class Stub(http.server.BaseHTTPRequestHandler):
    """An engine whose manner the test changes: ok, wedged, slow, empty, refuses."""

    manner = "ok"
    tokens = 0
    release = threading.Event()
    metrics = LLAMACPP

    def do_GET(self) -> None:
        if Stub.manner == "slow":
            Stub.tokens += 5
        self._say(200, Stub.metrics.format(moving=Stub.tokens) if self.path == "/metrics" else "{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if Stub.manner in ("wedged", "slow"):
            Stub.release.wait(30)
        elif Stub.manner == "refuses":
            self._say(404, '{"error": "no such model"}')
        else:
            count = 0 if Stub.manner == "empty" else 1
            self._say(200, json.dumps({"choices": [{"text": "1"}], "usage": {"completion_tokens": count}}))

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Machine:
    """One engine host under pytest's folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.told, self.units = folder, folder / "told", folder / "units"
        self.state, self.nvml = folder / "state", folder / "nvml"
        self.config = {
            "site": "lab", "host": "gpu1", "peers": [], "min_serving": 0, "zookeeper": [], "gpus": None,
            "deadline_s": 0.3, "strikes": 2, "window_s": 3600.0, "stall_s": 120.0, "start_timeout_s": 600,
            "textfile_dir": str(folder),
        }  # fmt: skip
        (folder / "etc").mkdir()
        (folder / "etc" / "blue.env").write_text(f"ADDRESS=127.0.0.1\nPORT={port}\n")
        release = folder / "srv" / "releases" / "v1-ab"
        release.mkdir(parents=True)
        (release / "manifest.json").write_text(json.dumps({"model": "m"}))
        (folder / "srv" / "blue").symlink_to(release)
        self.unit(blue=RUNNING)

    def unit(self, blue: dict[str, str], green: dict[str, str] | None = None, invocation: str = "inv1") -> None:
        blocks = []
        for colour, words in (("blue", blue), ("green", green or STOPPED)):
            own = {"Id": f"dsdeploy-engine@{colour}.service", "InvocationID": invocation, "MainPID": str(os.getpid())}
            began = {"InactiveExitTimestampMonotonic": str(int((time.monotonic() - 5) * 1e6))}
            blocks.append("\n".join(f"{k}={v}" for k, v in {**own, **began, **words}.items()))
        self.units.write_text("\n\n".join(blocks) + "\n")

    def run_of(self, *lines: dict[str, Any]) -> None:
        """A run of dsdeploy that this host has in its journal."""
        (self.folder / "run" / "runs").mkdir(parents=True, exist_ok=True)
        (self.folder / "run" / "epoch").write_text("7 20261122T050000-77-upgrade\n")
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self.folder / "run" / "runs" / "20261122T050000-77-upgrade.jsonl").write_text(text)

    def tick(self) -> dict[str, Any]:
        assert health.main() == 0
        found: dict[str, Any] = json.loads((self.state / "state.json").read_text())
        return found

    def orders(self) -> list[str]:
        lines = self.told.read_text().splitlines() if self.told.exists() else []
        return [line for line in lines if not line.startswith("show")]


@pytest.fixture
def machine(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    Stub.manner, Stub.tokens, Stub.release, Stub.metrics = "ok", 0, threading.Event(), LLAMACPP
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    machine = Machine(tmp_path, server.server_address[1])
    tool = tmp_path / "bin" / "systemctl"
    tool.parent.mkdir()
    tool.write_text(SYSTEMCTL.format(told=machine.told, units=machine.units))
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    machine.state.mkdir()
    (tmp_path / "run").mkdir()
    machine.nvml.write_text(gpus(2))
    (tmp_path / "health.json").write_text(json.dumps(machine.config))
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("DSDEPLOY_FAKE_NVML", str(machine.nvml))
    monkeypatch.setattr(engine, "ROOT", tmp_path / "srv")
    monkeypatch.setattr(engine, "PLACES", tmp_path / "etc")
    monkeypatch.setattr(health, "CONFIG", tmp_path / "health.json")
    monkeypatch.setattr(health, "STATE", machine.state)
    monkeypatch.setattr(health_gpus, "PROGRAM", FILES / "gpu" / "gpu_report.py")
    monkeypatch.setattr(health, "gpus", SimpleNamespace(look=lambda *words: WELL))
    for function in (runs.under_way, runs.quiet):
        monkeypatch.setattr(function, "__defaults__", (tmp_path / "run",))
    # contextmanager hides the function's own defaults
    fenced = runs.fenced
    monkeypatch.setattr(runs, "fenced", lambda: fenced(tmp_path / "run"))
    monkeypatch.setattr(permit, "take", lambda config, why, serves: "/dsdeploy/lab/out/0")
    monkeypatch.setattr(permit, "give_back", lambda config: None)
    yield machine
    Stub.release.set()
    server.shutdown()
    server.server_close()


KILL, FORGET = "kill --signal=SIGKILL dsdeploy-engine@blue.service", "reset-failed dsdeploy-engine@blue.service"
AGAIN, STOP = (f"{verb} --no-block dsdeploy-engine@blue.service" for verb in ("restart", "stop"))


def test_an_engine_that_answers_is_left_alone_and_marked(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "gpus", health_gpus)
    state = machine.tick()
    assert (state["phase"], state["colour"], state["release"], state["gpu_problems"]) == ("ok", "blue", "v1-ab", [])
    assert machine.orders() == []
    text = (machine.folder / "dsdeploy_health.prom").read_text()
    assert 'dsdeploy_engine_phase{phase="ok"} 1' in text and "dsdeploy_engine_out 0" in text
    assert 'dsdeploy_gpu_up{gpu="1"} 1' in (machine.folder / "dsdeploy_gpu.prom").read_text()
    if not shutil.which("promtool"):
        pytest.skip("no promtool here: Debian's package prometheus has it")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_wedged_engine_is_restarted_then_taken_out_then_comes_back(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.tick()
    Stub.manner = "wedged"
    assert machine.tick()["phase"] == "wedged" and machine.orders() == []
    assert machine.tick()["slot"] == "/dsdeploy/lab/out/0"
    assert machine.orders() == [KILL, FORGET, AGAIN]
    assert "RESTARTED engine blue (v1-ab): no completion within 0.3 s" in capsys.readouterr().out
    machine.unit(blue=RUNNING, invocation="inv2")
    Stub.manner = "ok"
    assert machine.tick()["slot"] == ""  # given back
    Stub.manner = "wedged"
    machine.tick()
    state = machine.tick()
    assert machine.orders()[3:] == [KILL, FORGET, STOP]
    assert (
        state["out"]["release"] == "v1-ab"
        and "dsdeploy_engine_out 1" in (machine.folder / "dsdeploy_health.prom").read_text()
    )
    machine.unit(blue={**RUNNING, "ActiveState": "inactive"}, invocation="inv2")
    assert machine.tick()["phase"] == "stopped" and len(machine.orders()) == 6
    machine.unit(blue=RUNNING, invocation="inv3")  # dsdeploy up started it
    Stub.manner = "ok"
    state = machine.tick()
    assert (state["out"], state["slot"], state["restarted"]) == (None, "", 1)


@pytest.mark.parametrize(("manner", "phase"), [("slow", "slow"), ("refuses", "strange")])
def test_an_engine_that_is_busy_or_answers_otherwise_is_not_wedged(machine: Machine, manner: str, phase: str) -> None:
    machine.tick()
    Stub.manner = manner
    assert [machine.tick()["phase"] for _ in range(3)] == [phase] * 3 and machine.orders() == []


def test_an_answer_without_a_token_is_no_completion(machine: Machine) -> None:
    machine.tick()
    Stub.manner = "empty"
    assert machine.tick()["phase"] == "wedged"


def test_nothing_is_done_during_a_run_and_after_it_the_looks_begin_anew(machine: Machine) -> None:
    machine.tick()
    Stub.manner = "wedged"
    machine.run_of({"kind": "begin"}, {"kind": "step", "step": "switch"})
    assert [machine.tick()["strikes"] for _ in range(3)] == [0, 0, 0]
    assert "run 20261122T050000-77-upgrade is under way" in machine.tick()["why"]
    machine.run_of({"kind": "begin"}, {"kind": "end"})
    assert machine.tick()["strikes"] == 1 and machine.orders() == []


@pytest.mark.parametrize(
    ("quiet_s", "locked", "acts"), [(60, False, 0), (3600, True, 0), (3600, None, 0), (3600, False, 3)]
)
def test_a_run_that_died_without_an_end_keeps_the_timer_still_for_half_an_hour(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, quiet_s: int, locked: bool | None, acts: int
) -> None:
    def ask(config: Any) -> bool:
        if locked is None:
            raise health_zk.Trouble("no member answers")
        return locked

    monkeypatch.setattr(permit, "locked", ask)
    machine.tick()
    Stub.manner = "wedged"
    machine.run_of({"kind": "begin"})
    journal = next((machine.folder / "run" / "runs").iterdir())
    os.utime(journal, (time.time() - quiet_s,) * 2)
    machine.tick()
    machine.tick()
    assert len(machine.orders()) == acts


def test_a_run_that_begins_while_the_permit_is_asked_for_is_not_disturbed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.tick()
    Stub.manner = "wedged"
    machine.tick()

    def take(config: Any, why: str, serves: Any) -> str:
        machine.run_of({"kind": "begin"})
        return "/dsdeploy/lab/out/0"

    monkeypatch.setattr(permit, "take", take)
    assert machine.tick()["restarts"] == [] and machine.orders() == []


def test_an_engine_that_was_started_anew_meanwhile_is_not_the_one_that_wedged(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.tick()
    Stub.manner = "wedged"
    machine.tick()

    def take(config: Any, why: str, serves: Any) -> str:
        machine.unit(blue=RUNNING, invocation="inv9")
        return "/dsdeploy/lab/out/0"

    monkeypatch.setattr(permit, "take", take)
    machine.tick()
    assert machine.orders() == []


@pytest.mark.parametrize("runtime", BUSY)
def test_an_engine_at_work_on_long_answers_is_slow_and_not_wedged(machine: Machine, runtime: str) -> None:
    Stub.metrics = BUSY[runtime]
    machine.tick()
    Stub.manner = "slow"
    assert [machine.tick()["phase"] for _ in range(3)] == ["slow"] * 3 and machine.orders() == []
    Stub.manner = "wedged"
    assert machine.tick()["phase"] == "wedged", "the same engine, and nothing moves"


def test_without_a_permit_it_stays_and_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.tick()
    Stub.manner = "wedged"

    def take(config: Any, why: str, serves: Any) -> str:
        raise permit.Refused("only 0 other engines are seen to serve (none), min_serving is 1")

    monkeypatch.setattr(permit, "take", take)
    held = [machine.tick()["held"] for _ in range(3)][-1]
    assert held.startswith("restart wanted (no completion") and "min_serving is 1" in held
    assert machine.orders() == []


def test_a_permit_that_cannot_be_given_back_is_kept_in_mind(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_back(config: Any) -> None:
        raise health_zk.Trouble("no member answers")

    monkeypatch.setattr(permit, "give_back", give_back)
    (machine.state / "state.json").write_text(json.dumps({"slot": "/dsdeploy/lab/out/0"}))
    assert machine.tick()["slot"] == "/dsdeploy/lab/out/0"
    monkeypatch.setattr(permit, "give_back", lambda config: None)
    assert machine.tick()["slot"] == ""


def test_what_never_answered_is_starting_not_wedged(machine: Machine) -> None:
    Stub.manner = "wedged"
    assert [machine.tick()["phase"] for _ in range(4)] == ["starting"] * 4 and machine.orders() == []
    machine.unit(blue={**RUNNING, "ActiveState": "activating", "SubState": "start"})
    assert machine.tick()["phase"] == "starting"


@pytest.mark.parametrize(
    ("blue", "green", "phase"),
    [
        (RUNNING, RUNNING, "two"),
        (STOPPED, STOPPED, "none"),
        ({**STOPPED, "UnitFileState": "enabled"}, STOPPED, "stopped"),
        ({**STOPPED, "UnitFileState": "enabled", "ActiveState": "failed", "ExecMainStatus": "78"}, STOPPED, "refused"),
    ],
)
def test_what_does_not_serve_is_told_apart(
    machine: Machine, blue: dict[str, str], green: dict[str, str], phase: str
) -> None:
    machine.unit(blue=blue, green=green)
    assert [machine.tick()["phase"] for _ in range(3)] == [phase] * 3 and machine.orders() == []


@pytest.mark.parametrize("unit", [RUNNING, {**STOPPED, "UnitFileState": "enabled", "ActiveState": "failed"}])
def test_a_host_that_is_not_the_first_of_its_engine_is_left_alone(machine: Machine, unit: dict[str, str]) -> None:
    place = machine.folder / "etc" / "blue.env"
    place.write_text(place.read_text() + "RANK=1\nHEAD=192.0.2.9\n")
    Stub.manner = "wedged"
    machine.unit(blue=unit)
    assert [machine.tick()["phase"] for _ in range(4)] == ["part"] * 4 and machine.orders() == []
    place.write_text(place.read_text().replace("RANK=1", "RANK=0"))
    assert machine.tick()["phase"] in ("starting", "failed")


def test_an_engine_that_systemd_gave_up_is_started_once_more(machine: Machine) -> None:
    failed = {**STOPPED, "UnitFileState": "enabled", "ActiveState": "failed", "Result": "signal", "ExecMainStatus": "9"}
    machine.unit(blue=failed)
    assert [machine.tick()["phase"] for _ in range(2)] == ["failed"] * 2
    assert machine.orders() == [KILL, FORGET, AGAIN]


def test_a_lost_gpu_is_named_and_a_wedged_engine_on_it_is_not_restarted_in_vain(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "gpus", health_gpus)
    machine.nvml.write_text(gpus(2, "gpu1.* = error:15"))
    assert machine.tick()["gpu_problems"] == ["GPU 1: has fallen off the bus"] and machine.orders() == []
    Stub.manner = "wedged"
    machine.tick()
    state = machine.tick()
    assert machine.orders() == [KILL, FORGET, STOP] and "a restart would not mend it" in state["out"]["why"]


def test_a_host_whose_gpus_are_all_gone_is_named_by_its_timer(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "gpus", health_gpus)
    machine.nvml.write_text(gpus(0))
    assert machine.tick()["gpu_problems"] == []  # a host of stack cpu needs none
    (machine.folder / "health.json").write_text(json.dumps({**machine.config, "gpus_least": 1}))
    assert machine.tick()["gpu_problems"] == ["no NVIDIA GPU is on the bus"]
    (machine.folder / "health.json").write_text(json.dumps({**machine.config, "gpus_least": 1, "gpus": 2}))
    assert machine.tick()["gpu_problems"] == ["0 of 2 GPUs answer"]


def test_a_driver_that_hangs_does_not_hang_the_timer_nor_is_it_asked_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(health, "gpus", health_gpus)
    slow = tmp_path / "slow.py"
    slow.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(health_gpus, "PROGRAM", slow)
    monkeypatch.setattr(health_gpus, "TIMEOUT_S", 0.2)
    state = machine.tick()
    assert state["phase"] == "ok" and "the driver does not answer" in state["gpu_problems"][0]
    with subprocess.Popen(["sleep", "600"]) as stuck:  # as if it took no signal
        hung = {"pid": stuck.pid, "started": health_gpus._started(stuck.pid)}
        found = health_gpus.look(machine.config, {"hung": hung}, machine.state)
        stuck.kill()
    assert found["hung"] == hung and str(stuck.pid) in found["problems"][0]
    monkeypatch.setattr(health_gpus, "PROGRAM", FILES / "gpu" / "gpu_report.py")
    monkeypatch.setattr(health_gpus, "TIMEOUT_S", 20.0)
    assert health_gpus.look(machine.config, {"hung": hung}, machine.state)["hung"] is None


def test_the_work_of_a_start_is_read_from_its_processes(tmp_path: Path) -> None:
    before = engine.work(os.getpid())
    blob = tmp_path / "blob"
    blob.write_bytes(b"x" * (4 << 20))
    assert blob.read_bytes()
    assert engine.work(os.getpid())[0] >= before[0] + 8
    assert engine.work(0) == (0, 0, 0)


def test_another_host_serves_when_one_of_its_colours_gives_a_completion(machine: Machine) -> None:
    port = int((machine.folder / "etc" / "blue.env").read_text().rsplit("=", 1)[1])
    peer = {"host": "gpu2", "address": "127.0.0.1", "ports": [1, port]}
    assert health.serves(peer, "blue") is True
    Stub.manner = "refuses"
    assert health.serves(peer, "blue") is False


@pytest.mark.parametrize(
    ("epoch", "journal", "found"),
    [
        (None, None, ""),
        ("3 r1\n", '{"kind": "begin"}\n{"kind": "end"}\n', ""),
        ("3 r1\n", '{"kind": "begin"}\n', "r1"),
        ("3 r1\n", '{"kind": "begin"}\n{"kind": "en', "r1"),
        ("3 r1\n", None, "r1"),
        ("3 r1\n", "", "r1"),
        ("garbage", None, "that left a damaged epoch"),
    ],
)
def test_a_run_is_under_way_until_its_journal_ends(
    tmp_path: Path, epoch: str | None, journal: str | None, found: str
) -> None:
    (tmp_path / "runs").mkdir()
    if epoch is not None:
        (tmp_path / "epoch").write_text(epoch)
    if journal is not None:
        (tmp_path / "runs" / "r1.jsonl").write_text(journal)
    assert runs.under_way(tmp_path) == found
