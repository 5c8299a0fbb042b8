"""The GPU report: the real pynvml on top of a libnvidia-ml.so.1 of ours, so hosts that nobody here has."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import FILES, Host, gpus, said

BUS8 = [f"0000:{0x17 + i:02x}:00.0" for i in range(8)]
A100 = "gpu*.name = NVIDIA A100-SXM4-80GB\ngpu*.memory.total = 85899345920\ngpu*.memory.used = 0\n"


def test_eight_gpus_in_good_health_are_told_whole(host: Host) -> None:
    host.on_bus(*BUS8)
    done = host.start(gpus(8, "gpu2.processes = 4711:68719476736,4712:1024"), "report", "--expected", "8")
    found = json.loads(done.stdout)
    assert (found["driver"], found["cuda"], found["count"], found["problems"]) == ("580.95.05", "13.0", 8, [])
    one = found["gpus"][2]
    assert (one["name"], one["uuid"], one["bus"], one["compute"]) == ("NVIDIA H200", "GPU-2", BUS8[2], "9.0")
    assert one["memory"] == {"total": 150754820096, "used": 1073741824}
    assert one["utilisation"] == {"gpu": 37, "memory": 12} and one["power"] == 412.5
    assert one["clocks"] == {"sm": 1980, "memory": 3201, "sm_max": 1980} and one["throttle"] == []
    assert one["ecc"]["aggregate"] == {"corrected": 4, "uncorrected": 0}
    assert one["remapped"] == {"corrected": 0, "uncorrected": 0, "pending": False, "failure": False}
    assert len(one["nvlink"]["up"]) == 18 and one["nvlink"]["down"] == []
    assert one["mig"] == {"enabled": False, "after_reset": False}
    assert one["processes"] == [{"pid": 4711, "memory": 68719476736}, {"pid": 4712, "memory": 1024}]


def test_a_host_without_gpus_and_without_a_driver_is_no_problem(host: Host) -> None:
    found = host.report(None)
    assert found["nvml"]["state"] == "no library" and found["problems"] == [] and found["gpus"] == []


def test_a_driver_without_a_gpu_is_one_only_where_gpus_are_expected(host: Host) -> None:
    assert host.report("count = 0\ndriver = 580.95.05\n")["problems"] == []
    assert said(host.report("count = 0\ndriver = 580.95.05\n", "--expected", "4")) == ["bad host: 0 of 4 GPUs answer"]


@pytest.mark.parametrize(
    "answers", ["count = 0\ndriver = 580.95.05\n", "init = error:9", None], ids=["ok", "none", "off"]
)
def test_a_host_that_needs_gpus_and_has_none_says_so_whatever_its_driver_does(host: Host, answers: str | None) -> None:
    """The driver of a host that lost all of its cards is content, or refuses to be loaded: both look like a host that
    never had any."""
    found = host.report(answers, "--least", "1")
    assert said(found) == ["bad host: no NVIDIA GPU is on the bus"] and found["problems"][0]["fatal"]
    if answers:
        text = host.run(answers, "metrics", "--least", "1").stdout
        assert 'dsdeploy_gpus{state="answering"} 0' in text and 'dsdeploy_gpus{state="on_bus"} 0' in text
        assert 'dsdeploy_gpu_problems{level="bad"} 1' in text


def test_fewer_gpus_than_the_engines_are_given_are_missed_and_those_that_do_not_answer_are_not_told_twice(
    host: Host,
) -> None:
    host.on_bus(*BUS8[:2])
    few = host.report(gpus(2), "--least", "4")
    assert said(few) == ["bad host: only 2 NVIDIA GPUs are there, the site uses 4"] and not few["problems"][0]["fatal"]
    assert host.report(gpus(2), "--least", "2")["problems"] == []
    lost = host.report(gpus(2, "gpu0.* = error:15"), "--least", "2")
    assert said(lost) == [f"bad 0: has fallen off the bus ({BUS8[0]})"]
    assert said(host.report(gpus(2), "--least", "4", "--expected", "2")) == [], "a number that was said counts alone"


@pytest.mark.parametrize(
    ("answers", "state", "word"),
    [
        (None, "no library", "none can be asked"),
        ("init = error:9", "no driver", "Driver Not Loaded"),
        ("init = error:18", "library and driver differ", "version mismatch"),
        ("init = error:999", "failed", "Unknown Error"),
    ],
)
def test_gpus_on_the_bus_that_nobody_can_ask_are_bad(host: Host, answers: str | None, state: str, word: str) -> None:
    host.on_bus(*BUS8[:2])
    found = host.report(answers)
    assert found["nvml"]["state"] == state
    assert len(found["problems"]) == 1 and found["problems"][0]["fatal"]
    assert "2 NVIDIA GPUs are on the bus" in found["problems"][0]["what"] and word in found["problems"][0]["what"]


def test_a_gpu_fallen_off_the_bus_is_told_as_such_with_its_place(host: Host) -> None:
    host.on_bus(*BUS8)
    found = host.report(gpus(8, "gpu5.* = error:15"), "--expected", "8")
    assert found["gpus"][5]["lost"] and not found["gpus"][4]["lost"]
    assert said(found) == [
        f"bad 5: has fallen off the bus ({BUS8[5]})",
        "bad host: 7 of 8 GPUs answer",
    ]
    assert host.run(gpus(8, "gpu5.* = error:15"), "health").returncode == 1


def test_a_gpu_that_is_lost_between_two_questions_keeps_its_name(host: Host) -> None:
    found = host.report(gpus(2, "gpu1.temperature = error:15"))
    assert found["gpus"][1]["lost"] and found["gpus"][1]["uuid"] == "GPU-1" and found["gpus"][1]["power"] is None
    assert said(found) == ["bad 1: has fallen off the bus (0000:18:00.0)"]


def test_a_gpu_on_the_bus_that_the_driver_does_not_list_is_named(host: Host) -> None:
    host.on_bus(*BUS8)
    found = host.report(gpus(7))
    assert said(found) == [f"bad host: on the bus, but the driver does not list: {BUS8[7]}"]


def test_a_gpu_given_to_a_virtual_machine_and_an_audio_device_are_not_missed(host: Host) -> None:
    host.on_bus(BUS8[0])
    host.on_bus(BUS8[1], driver="vfio-pci")
    host.on_bus("0000:17:00.1", kind="0x040300", driver="snd_hda_intel")
    assert host.report(gpus(1))["problems"] == []


def test_what_a_gpu_does_not_support_is_no_error_and_is_not_made_up(host: Host) -> None:
    found = host.report("count = 1\ndriver = 470.57.02\ngpu0.name = Tesla T4\ngpu0.uuid = GPU-0\n")
    one = found["gpus"][0]
    assert found["problems"] == [] and one["errors"] == {}
    assert [one[name] for name in ("memory", "ecc", "remapped", "retired", "nvlink", "mig", "throttle")] == [None] * 7


def test_a_question_that_fails_is_told_and_the_others_are_answered(host: Host) -> None:
    found = host.report(gpus(1, "gpu0.temperature = error:999"))
    assert found["gpus"][0]["temperature"] is None and found["gpus"][0]["power"] == 412.5
    assert said(found) == ["warn 0: does not answer every question (temperature: Unknown Error)"]
    assert host.run(gpus(1, "gpu0.temperature = error:999"), "health").returncode == 0


def test_an_older_driver_is_asked_for_processes_in_its_own_way(host: Host) -> None:
    old = "gpu0.processes = error:13\ngpu0.processes.old = 99:2048"
    assert host.report(gpus(1, old))["gpus"][0]["processes"] == [{"pid": 99, "memory": 2048}]


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("gpu1.ecc.volatile.uncorrected = 3", "bad 1: 3 uncorrectable memory errors since the driver was loaded"),
        ("gpu1.ecc.aggregate.uncorrected = 3", ""),
        ("gpu1.ecc.after_reboot = 0", "warn 1: ECC will be off after the next reboot"),
        ("gpu1.remapped.pending = 1", "warn 1: a memory row is to be remapped"),
        ("gpu1.remapped.failure = 1", "bad 1: a memory row could not be remapped: no spare row is left"),
        ("gpu1.retired.pending = 1\ngpu1.retired.double_bit = 2", "warn 1: memory pages are to be retired"),
        ("gpu1.throttle = 0x60", "warn 1: is slowed down at 54 C: software thermal, hardware thermal"),
        ("gpu1.throttle = 0x4", ""),  # a power cap is how these GPUs work all day
        ("gpu1.nvlink = 111111111111111011", "bad 1: 17 of 18 NVLinks are up; down: 15"),
        ("gpu1.name = NVIDIA L40S\ngpu1.nvlink = error:3", ""),
        ("gpu1.utilisation.gpu = error:16", "bad 1: wants a reset"),
        ("gpu1.handle = error:17", "bad 1: cannot be opened: The operating system has blocked the request."),
    ],
)
def test_each_trouble_has_its_sentence(host: Host, trouble: str, sentence: str) -> None:
    assert said(host.report(gpus(2, trouble))) == ([sentence] if sentence else [])


def test_mixed_models_on_one_host(host: Host) -> None:
    found = host.report(
        gpus(3, "gpu2.name = NVIDIA A100-SXM4-80GB\ngpu2.memory.total = 85899345920\ngpu2.nvlink = 111")
    )
    assert [one["name"] for one in found["gpus"]] == ["NVIDIA H200", "NVIDIA H200", "NVIDIA A100-SXM4-80GB"]
    assert found["gpus"][2]["memory"]["total"] == 85899345920 and found["problems"] == []


def test_xids_are_told_with_class_meaning_and_time_and_blamed_on_their_gpu(host: Host) -> None:
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    long_ago = f"[{uptime - 9000:.6f}] NVRM: Xid (PCI:0000:17:00): 95, pid=1, name=python, Uncontained\n"
    lines = 5 if uptime > 9000 else 4  # a computer that was started an hour ago has no such line
    host.log.write_text(
        f"{long_ago if lines == 5 else ''}"
        f"[{uptime - 60:.6f}] gpu1 kernel: NVRM: Xid (PCI:0000:18:00): 119, pid=4711, name=python, Timeout waiting\n"
        f"[{uptime - 59:.6f}] gpu1 kernel: NVRM: Xid (PCI:0000:18:00): 119, pid=4711, name=python, Timeout waiting\n"
        f"[{uptime - 50:.6f}] gpu1 kernel: NVRM: Xid (PCI:0000:17:00): 31, pid=9, name=vllm, MMU Fault\n"
        f"[{uptime - 40:.6f}] gpu1 kernel: NVRM: Xid (PCI:0000:17:00): 63, row remapper\n"
    )
    found = host.report(gpus(2), "--last", "3")
    assert [(x["code"], x["class"], x["bus"]) for x in found["xids"]["last"]] == [
        (119, "reset", "0000:18:00"), (31, "application", "0000:17:00"), (63, "drain", "0000:17:00"),
    ]  # fmt: skip
    assert abs(found["xids"]["last"][0]["at"] - (time.time() - 59)) < 30
    assert host.report(gpus(2), "--last", "0")["xids"]["last"] == []
    assert len(host.report(gpus(2))["xids"]["last"]) == lines
    assert said(found) == [
        "bad 1: Xid 119: GSP firmware does not answer (0000:18:00)",
        "warn 0: Xid 63: a memory row is to be remapped at the next reset (0000:17:00)",
    ]
    assert found["xids"]["counts"]["reset"] == lines - 2  # the one of 2.5 hours ago too


HARD = gpus(
    4,
    'gpu0.name = NVIDIA "H200"\\ odd\ngpu1.* = error:15\ngpu2.throttle = 0x40\n'
    "gpu3.processes = 1:2\ngpu3.retired.single_bit = 2",
)


def test_metrics_pass_promtool_and_say_what_the_report_says(host: Host, tmp_path: Path) -> None:
    host.on_bus(*BUS8[:4])
    out = tmp_path / "dsdeploy_gpu.prom"
    assert host.run(HARD, "metrics", "--out", str(out), "--expected", "4").returncode == 0
    text = out.read_text()
    assert oct(out.stat().st_mode & 0o777) == "0o644" and [p.name for p in tmp_path.glob("*.prom*")] == [out.name]
    assert 'dsdeploy_gpu_up{gpu="1"} 0' in text and 'dsdeploy_gpus{state="answering"} 3' in text
    assert 'dsdeploy_gpu_throttled{gpu="2",reason="hardware thermal"} 1' in text
    assert 'dsdeploy_gpu_memory_size_bytes{gpu="0"} 150754820096' in text
    assert 'dsdeploy_gpu_xid_errors_total{class="reboot"} 0' in text  # there before the first one
    if not shutil.which("promtool"):
        pytest.skip("no promtool here: Debian's package prometheus has it")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_metrics_that_cannot_be_written_leave_the_old_file_and_fail(host: Host, tmp_path: Path) -> None:
    done = host.run(gpus(1), "metrics", "--out", str(tmp_path / "missing" / "x.prom"))
    assert done.returncode == 1 and "No such file" in done.stderr


def test_xid_counters_go_on_where_the_log_forgets(host: Host, tmp_path: Path) -> None:
    state = tmp_path / "xids.json"
    line = "[{}.000000] NVRM: Xid (PCI:0000:17:00): 79, GPU has fallen off the bus.\n"

    def count(*seconds: int) -> int:
        host.log.write_text("".join(line.format(second) for second in seconds))
        return int(host.report(gpus(1), "--state", str(state))["xids"]["counts"]["reboot"])

    assert [count(5), count(5), count(5, 5), count(5, 5, 9), count(9), count(), count(12)] == [1, 1, 2, 3, 3, 3, 4]
    state.write_text(state.read_text().replace('"boot": "', '"boot": "another-'))
    assert count(5) == 5  # another boot: its clock begins anew
    state.write_text('{"counts": {"reb')
    assert count(5) == 1


@pytest.mark.parametrize("program", sorted(FILES.rglob("*.py")), ids=lambda path: path.name)
def test_the_programs_are_written_for_python_3_8(program: Path) -> None:
    ast.parse(program.read_text(), feature_version=(3, 8))
