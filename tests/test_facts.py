"""Parsers against what hosts really printed: tests/facts/<Value>/<case>.json, one file one case.

A case holds `output` (the lines), `value` (what the parser makes of them, as JSON) and, where it
matters, a `note` on where the lines come from. A new format of some tool is one new file.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from dsdeploy import facts
from dsdeploy.facts import gpu_report, python, script, shell
from dsdeploy.site import Site

CASES = sorted((Path(__file__).parent / "facts").glob("*/*.json"))
KINDS = [
    facts.AnsweringEngines, facts.BusGpus, facts.Clock, facts.Disks, facts.DriverModule, facts.EngineLog,
    facts.Engines, facts.Epoch, facts.Fabric, facts.Footprint, facts.GpuHealths, facts.GpuLog,
    facts.GpuReport, facts.Gpus, facts.GpuTopology, facts.HealthState, facts.HostLog, facts.Hugepages,
    facts.IbDevinfo, facts.IbStat, facts.Installed, facts.Interpreter, facts.Kept, facts.Measured,
    facts.Memory, facts.NvSwitch, facts.Ofed, facts.Os, facts.PackageLock, facts.PacketFilter,
    facts.PortCounters, facts.Ports, facts.Releases, facts.Rotation, facts.RouterState, facts.Runs,
    facts.SecureBoot, facts.SiteId, facts.Srvr, facts.StackState, facts.TensorRt, facts.Thp,
    facts.UnknownModels, facts.Weights,
]  # fmt: skip
SITE = Site.model_validate({
    "site": "test", "stack": "cuda13",
    "hosts": {
        "gw": {"address": "10.1.2.3", "roles": ["router", "monitor"]},
        "gpu": {"address": "fd00::7", "roles": ["engine", "zookeeper"]},
    },
    "model": {"name": "deepseek-tiny", "version": "v1", "source": "/mnt/weights"},
    "fabric": {"ofed": {"repository": "http://192.0.2.1/d/", "key": "http://192.0.2.1/K", "fingerprint": "A" * 40}},
    "health": {"gpus": 8}, "logs": {}, "monitor": {}, "firewall": {"allow": ["10.0.0.0/8"]},
})  # fmt: skip

PLANS = SITE.model_copy(update={"engine": SITE.engine.model_copy(update={"runtime": "triton"})})


def plain(value: Any) -> Any:
    """A fact's value as the JSON of a case file has it."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    elif isinstance(value, dict):
        value = {key: plain(item) for key, item in value.items()}
    elif isinstance(value, tuple):
        value = [plain(item) for item in value]
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_parser_reads_what_hosts_print(case: Path) -> None:
    told = json.loads(case.read_text(encoding="utf-8"))
    fact = facts.reader(getattr(facts, case.parent.name))
    assert plain(fact.process(told["output"])) == told["value"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_fact_has_cases(kind: type[Any]) -> None:
    assert [case for case in CASES if case.parent.name == kind.__name__]


HOSTILE = [
    [],
    [""],
    ["== "],
    ["== link blue", "releases/"],
    ["== health blue 99999999999999999999999", "| HTTP/1.1 ²²² x"],
    ["| Mode: leader; rm -rf /", "| Zxid: 0xzz", "| Connections: ²"],
    ["{" * 5000],
    ["== a/b", "json " + "[" * 100_000],
    ["=" * 10_000, ":" * 10_000, "," * 10_000],
    ["controller x y", "1.2.3", "NTPSynchronized="],
    ["LISTEN 0 0 : :", "0: zz:zz 00:00 0A"],
    ["9" * 400 + " /etc/passwd x"],
    ["# pxname,svname,addr", "a,b,c" * 100],
    ["\x00\x1b[2J", "\ud800", "ÿ: 1 kB"],
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("lines", HOSTILE, ids=range(len(HOSTILE)))
def test_no_output_makes_a_parser_raise(kind: type[Any], lines: list[str]) -> None:
    assert isinstance(facts.reader(kind).process(lines), kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("shell_name", ["dash", "bash"])
def test_every_command_is_good_shell(kind: type[Any], shell_name: str) -> None:
    if not shutil.which(shell_name):
        pytest.skip(f"no {shell_name} here")
    fact = facts.reader(kind)
    applied = [a for site in (SITE, PLANS) for host in site.hosts if (a := fact.arguments(site, host)) is not None]
    assert applied, "some host of a site has this fact"
    for arguments in applied:
        text = script.build([fact.command(**arguments)], "mark")
        done = subprocess.run([shell_name, "-n", "-c", text], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_programs_on_hosts_are_started_through_the_hosts_link_where_there_is_one(tmp_path: Path) -> None:
    """EL8 and CentOS 7 have the Python Ansible uses elsewhere; a host that was never prepared has no link yet."""
    link = tmp_path / "python3"
    word = python.PYTHON.replace(python.LINK, str(link))
    ask = ["sh", "-c", f"set -- {word}; echo $# $1"]
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "1 python3\n"
    link.symlink_to(sys.executable)
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == f"1 {link}\n"
    for value in (facts.GpuReport, facts.Gpus, facts.Rotation):
        assert python.PYTHON in facts.reader(value).command()


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here to make a certificate with")
@pytest.mark.parametrize(
    ("signer", "own"), [("gpu1 Secure Boot Module Signature key", True), ("Canonical Ltd.", False)]
)
def test_whether_a_hosts_own_key_signed_the_module_is_told_by_its_certificate(
    tmp_path: Path, signer: str, own: bool
) -> None:
    made = tmp_path / "mok.pub"
    words = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", str(tmp_path / "key"), "-days", "9",
             "-subj", "/CN=gpu1 Secure Boot Module Signature key", "-outform", "DER", "-out", str(made)]  # fmt: skip
    subprocess.run(words, check=True, capture_output=True)
    modinfo = tmp_path / "modinfo"
    modinfo.write_text(f"#!/bin/sh\n[ \"$2\" = signer ] && echo '{signer}'\n")
    modinfo.chmod(0o755)
    fact = facts.reader(facts.StackState)
    command = f"PATH={tmp_path}:$PATH\n" + fact.command().replace("/var/lib/dkms/mok.pub", str(made))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    found = fact.process(done.stdout.splitlines())
    assert (found.signer, found.own_key) == (signer, own)


ANSWER = "0, GPU-aa, 81251, 0, 470.57.02, NVIDIA A100-SXM4-80GB"
REFUSES = f"""case "$*" in *compute_cap*) echo 'Field "compute_cap" is not a valid field to query.'; exit 2;; esac
echo '{ANSWER}'"""
TELLS = "echo '0, GPU-aa, 143771, 0, 580.95.05, 9.0, NVIDIA H200'"


@pytest.mark.parametrize(
    ("program", "found", "asked"),
    [
        (TELLS, [("NVIDIA H200", "9.0", "580.95.05")], 1),
        (REFUSES, [("NVIDIA A100-SXM4-80GB", "", "470.57.02")], 2),
        ("echo 'Unable to determine the device handle for GPU0000:17:00.0: Unknown Error'; exit 15", [], 2),
        ("exit 124", [], 1),  # what timeout answers for a driver that hangs
    ],
)
def test_an_older_driver_is_asked_again_without_what_it_does_not_know(
    program: str, found: list[tuple[str, str, str]], asked: int, tmp_path: Path
) -> None:
    tool, log = tmp_path / "nvidia-smi", tmp_path / "log"
    tool.write_text(f'#!/bin/sh\necho "$*" >> {log}\n{program}\n')
    tool.chmod(0o755)
    fact = facts.reader(facts.Gpus)
    done = subprocess.run(
        ["sh", "-c", fact.command()],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert [(gpu.name, gpu.compute, gpu.driver) for gpu in fact.process(done.stdout.splitlines())] == found
    assert len(log.read_text().splitlines()) == asked


@pytest.mark.parametrize(
    ("report", "found", "asked"),
    [
        (
            """print('{"driver": "1", "gpus": [{"uuid": "GPU-b", "name": "by report", "lost": false}]}')""",
            "by report",
            0,
        ),
        ("print('{\"gpus\": [' + 'x' * (1 << 20) + ']}')", "NVIDIA H200", 1),  # would be cut on its way here
        ("print('{\"gpus\": [')", "NVIDIA H200", 1),
        ("raise SystemExit(1)", "NVIDIA H200", 1),
        ("raise SystemExit(124)", "", 0),  # what timeout answers for a driver that hangs
    ],
)
def test_nvidia_smi_is_asked_unless_a_whole_report_came(report: str, found: str, asked: int, tmp_path: Path) -> None:
    program, tool, log = tmp_path / "gpu_report.py", tmp_path / "nvidia-smi", tmp_path / "log"
    program.write_text(report + "\n")
    tool.write_text(f'#!/bin/sh\necho "$*" >> {log}\n{TELLS}\n')
    tool.chmod(0o755)
    log.touch()
    fact = facts.reader(facts.Gpus)
    command = fact.command().replace(gpu_report.PROGRAM, str(program))
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False
    )
    assert [gpu.name for gpu in fact.process(done.stdout.splitlines())] == ([found] if found else [])
    assert len(log.read_text().splitlines()) == asked


def test_facts_are_asked_only_where_they_mean_something() -> None:
    assert facts.reader(facts.Srvr).arguments(SITE, "gw") is None
    assert facts.reader(facts.Srvr).arguments(SITE, "gpu") == {"address": "fd00::7", "port": 2181}
    assert facts.reader(facts.Engines).arguments(SITE, "gw") is None
    assert facts.reader(facts.RouterState).arguments(SITE, "gpu") is None
    for kind in (facts.DriverModule, facts.NvSwitch, facts.SecureBoot):
        assert facts.reader(kind).arguments(SITE, "gw") is None
        assert facts.reader(kind).arguments(SITE.model_copy(update={"stack": "cpu"}), "gpu") is None


def run(commands: list[str]) -> list[list[str] | None]:
    """The script of these commands, run by this computer's shell, and its output taken apart."""
    done = subprocess.run(["sh", "-c", script.build(commands, "m4rk")], capture_output=True, check=False)
    return script.split(done.stdout, "m4rk", len(commands))


def test_parts_are_told_apart_and_cannot_disturb_each_other() -> None:
    parts = run(["echo one; echo; echo", "exit 3", "printf 'no line end'", "cat", 'echo "a\'b" >&2; echo five'])
    assert parts == [["one", "", ""], [], ["no line end"], [], ["five"]]


def test_a_part_that_was_cut_off_is_none_and_those_before_it_stay() -> None:
    output = b"m4rk start\none\n\nm4rk 0\ntw"
    assert script.split(output, "m4rk", 2) == [["one"], None]


def test_a_part_cannot_print_without_end() -> None:
    (flood,) = run(["cat /dev/zero | tr '\\0' x"])
    assert flood is not None and len(flood[0]) == script.PART_BYTES


def test_marks_with_impossible_numbers_are_ignored() -> None:
    assert script.split(b"m4rk 7\nm4rk 99999999999999999999\nm4rk x\nm4rk\n", "m4rk", 1) == [None]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"\x1b[31mred\x07", "[31mred"),
        (b"\xff\xfe", "��"),
        ("a‮b\xa0c".encode(), "abc"),
        (b"tab\tkept", "tab\tkept"),
    ],
)
def test_text_from_a_host_is_fit_for_a_terminal(raw: bytes, text: str) -> None:
    assert script.clean(raw) == text


def test_tcp_tells_refused_silent_and_answered_apart() -> None:
    """The shell line itself, against this computer: port 1 has nobody listening."""
    done = subprocess.run(["sh", "-c", shell.tcp("127.0.0.1", 1, "x", 2)], capture_output=True, text=True, check=False)
    lines = shell.answered(done.stdout.splitlines())
    assert "Connection refused" in lines[0]
    assert lines[-1] == "end 1"
    assert shell.http_status(lines) is None
