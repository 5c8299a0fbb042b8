"""The health timer seen from the operator: what hosts are told, and what status and check say of what they found."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsdeploy import facts, observe, preflight
from dsdeploy.facts import AnsweringEngines, EngineState, GpuProblem, GpuReport, HealthState
from dsdeploy.facts.gpu_report import PROGRAM
from dsdeploy.health import findings, settings
from dsdeploy.hosts import Reading
from dsdeploy.site import Site

TOLD: dict[str, Any] = {
    "site": "lab", "stack": "cuda13",
    "hosts": {
        "gw1": {"address": "10.0.0.1", "roles": ["router", "zookeeper"]},
        "gpu1": {"address": "10.0.0.2", "roles": ["engine"]},
        "gpu2": {"address": "fd00::3", "roles": ["engine", "zookeeper"]},
        "gpu3": {"address": "10.0.0.4", "roles": ["engine", "zookeeper"]},
    },
    "model": {"name": "m", "version": "v1", "source": "/mnt/weights"},
}  # fmt: skip
PLAIN = Site.model_validate(TOLD)
SITE = Site.model_validate({**TOLD, "health": {}})
LOST = GpuProblem("bad", 5, "has fallen off the bus (0000:1c:00.0)", "drain the host and reboot it", True)
ROW = GpuProblem("warn", 2, "a memory row is to be remapped", "drain the host, then reset the GPU or reboot")
SMI = """echo "$*" >> {log}
echo '0, GPU-aa, 81251, 0, 470.57.02, 8.0, NVIDIA A100-SXM4-80GB'"""
WELL = HealthState("ok", "blue", "a completion came back", 12.0)


def reading(*values: Any) -> Reading:
    return Reading("gpu1", True, values={type(value): value for value in values})


def test_a_site_that_does_not_ask_for_it_gets_nothing() -> None:
    assert settings.variables(PLAIN) == {} and settings.peers(PLAIN, "gpu1") == {}


def test_hosts_are_told_of_each_other_and_of_the_ensemble() -> None:
    told = settings.variables(SITE)
    assert told["health_min_serving"] == 2  # all but one
    assert told["health_zookeeper"] == ["10.0.0.1:2181", "[fd00::3]:2181", "10.0.0.4:2181"]
    assert [peer["host"] for peer in settings.peers(SITE, "gpu1")["health_peers"]] == ["gpu2", "gpu3"]
    assert settings.peers(SITE, "gpu1")["health_peers"][0] == {
        "host": "gpu2", "address": "fd00::3", "ports": [8101, 8102],
    }  # fmt: skip


def test_of_hosts_that_are_one_engine_the_first_counts() -> None:
    four = {**TOLD["hosts"], "gpu4": {"address": "10.0.0.5", "roles": ["engine"]}}
    engine = {"runtime": "vllm", "precision": "fp16", "nodes": 2, "tensor_parallel": 2}
    pairs = Site.model_validate({**TOLD, "hosts": four, "engine": engine, "health": {}})
    assert settings.variables(pairs)["health_min_serving"] == 1
    told = {name: [peer["host"] for peer in settings.peers(pairs, name)["health_peers"]] for name in ("gpu1", "gpu3")}
    assert told == {"gpu1": ["gpu3"], "gpu3": ["gpu1"]}


def test_min_serving_is_the_sites_where_it_says_so() -> None:
    said = Site.model_validate({**TOLD, "health": {"min_serving": 0}})
    assert settings.variables(said)["health_min_serving"] == 0


@pytest.mark.parametrize(("changes", "least"), [({}, 1), ({"engine": {"devices": [2, 3]}}, 4), ({"stack": "cpu"}, 0)])
def test_a_site_that_names_no_number_of_gpus_needs_those_its_engines_are_given(
    changes: dict[str, Any], least: int
) -> None:
    told = Site.model_validate({**TOLD, "health": {}, **changes})
    assert settings.variables(told)["health_gpus_least"] == least
    asked = facts.reader(GpuReport).arguments(told, "gpu1")
    assert asked == ({"least": least} if least else None)
    named = Site.model_validate({**TOLD, "health": {"gpus": 8}})
    assert facts.reader(GpuReport).arguments(named, "gpu1") == {"expected": 8}


def test_a_report_of_an_earlier_edition_that_knows_no_least_is_asked_without(tmp_path: Path) -> None:
    program = tmp_path / "gpu_report.py"
    program.write_text(
        "import sys\nsys.exit(2) if '--least' in sys.argv else print('{\"count\": 3, \"problems\": []}')\n"
    )
    fact = facts.reader(GpuReport)
    command = fact.command(least=1).replace(PROGRAM, str(program))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    found = fact.process(done.stdout.splitlines())
    assert (found.count, found.problems) == (3, ()) and done.stdout.count("count") == 1
    program.write_text('print(\'{"count": 3, "problems": []}\')\n')
    again = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert again.stdout.count("count") == 1


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (WELL, []),
        (replace(WELL, age=7200.0), ["the timer has not looked for 120 min"]),
        (HealthState(error="the timer has not looked yet"), ["the timer has not looked yet"]),
        (
            replace(WELL, phase="stopped", out="2026-11-22 09:33 UTC: no completion"),
            ["engine blue was taken out: 2026-11-22 09:33 UTC: no completion"],
        ),
        (
            replace(WELL, phase="wedged", held="restart wanted (…), not done: min_serving is 2 of 3"),
            ["health: restart wanted (…), not done: min_serving is 2 of 3"],
        ),
    ],
)
def test_status_names_what_the_timer_did_and_could_not_do(state: HealthState, words: list[str]) -> None:
    found = list(findings.problems(SITE, reading(state)))
    assert len(found) == len(words) and all(word in said for word, said in zip(words, found, strict=True))


def test_a_timer_that_is_not_wanted_is_not_missed() -> None:
    off = Site.model_validate({**TOLD, "health": {"enabled": False}})
    assert list(findings.problems(off, reading(HealthState(error="the timer has not looked yet")))) == []
    assert list(findings.problems(PLAIN, reading())) == []


def test_status_tells_gpus_by_the_report_or_by_the_timers_last_look() -> None:
    report = GpuReport(True, "580.95.05", "13.0", 8, 8, (LOST, ROW))
    assert list(findings.problems(SITE, reading(report, WELL))) == [f"gpu: {LOST.sentence}"]
    assert list(findings.warnings(SITE, reading(report, WELL))) == [f"gpu: {ROW.sentence}"]
    state = replace(WELL, gpu_problems=("GPU 5: has fallen off the bus",))
    assert list(findings.problems(SITE, reading(GpuReport(), state))) == ["gpu: GPU 5: has fallen off the bus"]


def test_an_engine_that_answers_again_is_not_held_against_its_host() -> None:
    state = replace(WELL, phase="stopped", out="2026-11-22 09:33 UTC: no completion")
    well = AnsweringEngines(blue=EngineState("blue", "r1", "r1", "active", 8101, "ok", True))
    sick = AnsweringEngines(blue=EngineState("blue", "r1", "r1", "active", 8101, "ok", False))
    assert list(findings.problems(SITE, reading(state, well))) == []
    assert len(list(findings.problems(SITE, reading(state, sick)))) == 1


def test_what_no_run_can_mend_makes_a_site_unhealthy_but_no_run_a_failure() -> None:
    report = GpuReport(True, problems=(LOST,))
    found = observe.status(SITE, {name: reading(report, WELL) for name in SITE.hosts}, ["gpu1"])
    assert not found.healthy and ("gpu1", f"gpu: {LOST.sentence}") in found.named()
    assert ("gpu1", f"gpu: {LOST.sentence}") not in found.named(watched=False)
    assert found.as_json()["hosts"]["gpu1"]["watched"] == (f"gpu: {LOST.sentence}",)


def test_a_restart_is_remembered_in_status() -> None:
    state = replace(WELL, restarts=("2026-11-22 09:16 UTC: no completion within 20 s",))
    assert "1 restarts of a wedged engine" in next(findings.warnings(SITE, reading(state)))


def test_check_refuses_a_lost_gpu_that_the_engine_is_to_use_and_tells_the_rest() -> None:
    readings = {"gpu1": reading(GpuReport(True, problems=(LOST, ROW)))}
    stopping = [problem.what for problem in preflight.problems(SITE, readings) if "GPU 5" in problem.what]
    assert stopping == ["gpu1: GPU 5: has fallen off the bus (0000:1c:00.0)"]
    told = [problem.what for problem in preflight.warnings(SITE, readings) if "GPU" in problem.what]
    assert told == ["gpu1: GPU 2: a memory row is to be remapped"]
    spared = Site.model_validate({**TOLD, "engine": {"devices": [0, 1]}})
    assert [p for p in preflight.problems(spared, readings) if "GPU 5" in p.what] == []
    assert "gpu1: GPU 5: has fallen off the bus (0000:1c:00.0)" in [
        p.what for p in preflight.warnings(spared, readings)
    ]


@pytest.mark.parametrize(
    ("program", "found", "asked"),
    [
        (
            'echo \'{"driver":"580.95.05","gpus":[{"index":0,"uuid":"GPU-a","name":"NVIDIA H200","lost":false}]}\'',
            ["580.95.05"],
            False,
        ),
        ("echo torn; exit 1", ["470.57.02"], True),  # a host that has the program and no Python for it, say
        ("exit 124", [], False),  # a driver that hangs is not asked by the other tool as well
        (None, ["470.57.02"], True),
    ],
)
def test_gpus_are_told_by_the_report_where_it_is_installed_else_by_nvidia_smi(
    tmp_path: Path, program: str | None, found: list[str], asked: bool
) -> None:
    """`python3` stands for the program here: what it prints and how it ends."""
    for name, text in (("python3", program or "exit 1"), ("nvidia-smi", SMI.format(log=tmp_path / "log"))):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    there = tmp_path / "gpu_report.py"
    if program:
        there.touch()
    fact = facts.reader(facts.Gpus)
    done = subprocess.run(
        ["sh", "-c", fact.command().replace(PROGRAM, str(there))],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert [gpu.driver for gpu in fact.process(done.stdout.splitlines())] == found
    assert (tmp_path / "log").exists() == asked
