"""check --fabric from readings to report: fake measuring programs, real shell, no SSH."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dsdeploy import facts, hosts, ssh
from dsdeploy.cli import cli
from dsdeploy.fabric import acceptance, judge, measure
from dsdeploy.facts.ib_stat import Adapter
from dsdeploy.hosts import Reading
from dsdeploy.site import Site, load

from .conftest import Local

FACTS = Path(__file__).resolve().parents[1] / "facts"
SITE = """\
site: t
stack: cuda13
hosts:
  gw: {address: 10.0.0.9, roles: [router, zookeeper]}
%s
model: {name: m, version: v1, source: /mnt/weights}
fabric: {interface: eno1%s}
"""


def make(folder: Path, count: int = 3, more: str = "") -> Site:
    lines = [f"  gpu{number}: {{address: 10.0.0.2{number}, roles: [engine]}}" for number in range(1, count + 1)]
    path = folder / "site.yml"
    path.write_text(SITE % ("\n".join(lines), more))
    return load(path)


def value(kind: type[Any], case: str) -> Any:
    told = json.loads((FACTS / kind.__name__ / f"{case}.json").read_text(encoding="utf-8"))
    return facts.reader(kind).process(told["output"])


def reading(host: str, **other: str) -> Reading:
    cases = {"Fabric": "edr-connectx-4", "GpuHealths": "a100-470", "GpuLog": "clean", "Gpus": "h200"} | other
    values = {(kind := getattr(facts, name)): value(kind, case) for name, case in cases.items() if case}
    if "GpuHealths" not in other:
        values[facts.GpuHealths] = facts.GpuHealths()
    return Reading(host, True, "", values)


@pytest.fixture
def readings(tmp_path: Path) -> tuple[Site, dict[str, Reading]]:
    site = make(tmp_path)
    return site, {host: reading(host) for host in site.with_role("engine")}


@pytest.fixture(autouse=True)
def ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Free ones, as other tests may run beside; and every fake host listens on 127.0.0.1."""
    import socket

    def free(count: int) -> list[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            first = int(listener.getsockname()[1])
        return [first + number for number in range(count)]

    monkeypatch.setattr(measure, "ports", free)
    real = acceptance.begin

    def begin(site: Site, read: dict[str, Reading]) -> acceptance.Report:
        report = real(site, read)
        for name, node in report.nodes.items():
            report.nodes[name] = measure.Node(**{**vars(node), "address": "127.0.0.1"})
        return report

    monkeypatch.setattr(acceptance, "begin", begin)


def accept(site: Site, read: dict[str, Reading], local: Local) -> acceptance.Report:
    report = acceptance.begin(site, read)
    acceptance.run(site, report, local, lambda text: None)
    acceptance.conclude(report, read, read)
    return report


def words(report: acceptance.Report) -> list[str]:
    return [problem.what for problem in report.problems]


def test_every_pair_is_measured_and_all_is_well(readings: tuple[Site, dict[str, Reading]], local: Local) -> None:
    report = accept(*readings, local)
    assert words(report) == []
    assert sorted(map(sorted, report.matrix("write"))) == [["gpu1", "gpu2"], ["gpu1", "gpu3"], ["gpu2", "gpu3"]]
    assert set(report.matrix("write").values()) == {97.0} and set(report.matrix("all_reduce").values()) == {12.0}
    assert [(one.hosts, one.value, one.what) for one in report.alone] == [
        ((f"gpu{n}",), 470.0, "all_reduce_perf") for n in (1, 2, 3)
    ]
    assert {name: found.passed for name, found in report.diagnoses.items()} == {"gpu1": 1, "gpu2": 1, "gpu3": 1}
    assert report.nodes["gpu1"].environment["NCCL_IB_HCA"] == "=mlx5_0:1"


def test_a_pair_below_the_threshold_is_a_problem_with_both_figures(
    readings: tuple[Site, dict[str, Reading]], local: Local
) -> None:
    local.table["write"] = {"*": 97.0, "gpu1<gpu3": 41.5}
    report = accept(*readings, local)
    assert len(words(report)) == 1
    assert "41.5 Gb/s, 90.0 wanted" in words(report)[0] and "gpu3" in words(report)[0]


def test_a_host_that_is_slow_with_everybody_is_named(tmp_path: Path, local: Local) -> None:
    site = make(tmp_path, 5)
    read = {host: reading(host) for host in site.with_role("engine")}
    local.table["write"] = {"*": 99.0} | {f"{a}<gpu2": 60.0 for a in ("gpu1", "gpu3", "gpu4", "gpu5")}
    report = accept(site, read, local)
    assert [warning.what for warning in report.warnings if "most of its pairs" in warning.what] == [
        "gpu2: most of its pairs are slow in ib_write_bw, those without it are not"
    ]


def test_a_pair_that_fails_says_the_programs_own_words(readings: tuple[Site, dict[str, Reading]], local: Local) -> None:
    local.table["write"] = {"*": 97.0, "gpu1<gpu2": None}
    assert any("Failed status 12" in what for what in words(accept(*readings, local)))


def test_a_program_that_is_missing_is_a_problem_and_not_a_pass(
    readings: tuple[Site, dict[str, Reading]], local: Local
) -> None:
    local.without("ib_write_bw")
    found = words(accept(*readings, local))
    assert len(found) == 3 and all("no ib_write_bw: install perftest" in what for what in found)


def test_dcgm_is_left_out_where_it_is_not_installed_and_heard_where_it_is(
    readings: tuple[Site, dict[str, Reading]], local: Local
) -> None:
    local.table["dcgm"] = {"gpu2": "Fail"}
    assert words(accept(*readings, local)) == ["gpu2: DCGM: memory, GPU 0: no reason given"]
    local.without("dcgmi")
    assert words(accept(*readings, local)) == []


def test_without_nccl_tests_our_own_program_measures(readings: tuple[Site, dict[str, Reading]], local: Local) -> None:
    local.without("all_reduce_perf")
    local.table["pair"] = 300.0
    report = accept(*readings, local)
    assert {one.what for one in report.alone} == {"all_reduce.py"} and words(report) == []


def test_figures_of_the_site_file_stand_above_the_rule(tmp_path: Path, local: Local) -> None:
    site = make(tmp_path, 2, ", write_gbits: 99, all_reduce_gbytes: 480")
    read = {host: reading(host) for host in site.with_role("engine")}
    found = " ".join(words(accept(site, read, local)))
    assert "97.0 Gb/s, 99.0 wanted" in found and "470.0 GB/s, 480.0 wanted" in found


def test_a_host_with_soft_devices_alone_is_in_no_pair(tmp_path: Path, local: Local) -> None:
    site = make(tmp_path, 3)
    read = {host: reading(host) for host in site.with_role("engine")}
    read["gpu2"] = reading("gpu2", Fabric="rxe-rate-100")
    report = accept(site, read, local)
    assert [sorted(pair) for pair in report.matrix("write")] == [["gpu1", "gpu3"]]
    assert any("soft device" in what for what in words(report))


def test_a_gpu_that_waits_for_a_reset_and_an_xid_are_problems_before_anything_is_measured(
    readings: tuple[Site, dict[str, Reading]],
) -> None:
    site, read = readings
    read["gpu1"] = reading("gpu1", GpuHealths="h200-580", GpuLog="xids")
    found = " ".join(words(acceptance.begin(site, read)))
    for said in (
        "waits for a reset", "2 memory errors", "clocks are held down at 345 of 1980 MHz, 91 °C: HW Thermal Slowdown",
        "4x8 of 5x16", "NVSwitch: In Progress", "XID 79 of GPU 0000:44:00: GPU has fallen off the bus",
    ):  # fmt: skip
        assert said in found
    assert "XID 31" not in found and "XID 13" not in found


def test_counters_that_grow_while_measuring_are_named() -> None:
    clean, worn = reading("gpu1"), reading("gpu1", PortCounters="bad-cable")
    before = reading("gpu1", PortCounters="clean-extended")
    assert judge.grown(clean, clean) == {}
    assert judge.grown(before, before) == {}
    first = {facts.PortCounters: facts.PortCounters({"mlx5_1/1": {"SymbolErrorCounter": 65_000}})}
    grown = judge.grown(Reading("gpu1", True, "", {**clean.values, **first}), worn)
    assert grown["mlx5_1/1"]["SymbolErrorCounter"] == 535


def test_libraries_that_miss_what_the_kernel_has_are_a_problem() -> None:
    both = reading("gpu1", IbDevinfo="edr-connectx-4")
    assert [problem.what for problem in judge.libraries("gpu1", both)] == [
        "gpu1: ibv_devinfo does not find mlx5_1, which the kernel has"
    ]


def test_adapters_that_ibstat_does_not_list_are_a_problem_and_a_host_without_ibstat_has_none() -> None:
    both = reading("gpu1", IbDevinfo="edr-connectx-4")
    listed = facts.IbStat([Adapter("mlx5_1", "MT4115", "12.28", True)])
    found = judge.libraries("gpu1", Reading("gpu1", True, "", {**both.values, facts.IbStat: listed}))
    assert "gpu1: ibstat does not find mlx5_0, which the kernel has" in [problem.what for problem in found]
    assert not [p for p in judge.libraries("gpu1", both) if "ibstat" in p.what]


@pytest.mark.parametrize(("ofed", "said"), [((False, True), True), ((True, True), False), ((False, False), False)])
def test_a_restart_that_doca_will_need_is_said_before_it_is_installed(
    readings: tuple[Site, dict[str, Reading]], ofed: tuple[bool, bool], said: bool
) -> None:
    site, read = readings
    one = {"gpu1": Reading("gpu1", True, "", {**read["gpu1"].values, facts.Ofed: facts.Ofed(*ofed)})}
    assert any("DOCA-OFED replaces" in found.what for found in judge.warnings(site, one)) == said


def test_a_serving_host_is_not_measured_unless_asked(readings: tuple[Site, dict[str, Reading]]) -> None:
    site, read = readings
    assert acceptance.busy(site, read) == []
    read["gpu1"] = reading("gpu1", Engines="blue-serves")
    assert [problem.what for problem in acceptance.busy(site, read)] == [
        "gpu1 runs a release, and measuring would take its links and GPUs away from requests"
    ]


def call(monkeypatch: pytest.MonkeyPatch, read: dict[str, Reading], local: Local, *words: str) -> Any:
    from click.testing import CliRunner

    monkeypatch.setattr(hosts, "read", lambda site, *kinds, names: {name: read[name] for name in names})
    monkeypatch.setattr(ssh, "Shells", lambda site, names: local)
    return CliRunner().invoke(cli, ["check", *words], standalone_mode=False)


def test_the_verb_prints_a_matrix_and_exits_0_or_refuses(
    readings: tuple[Site, dict[str, Reading]], local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, read = readings
    done = call(monkeypatch, read, local, str(site.file), "--fabric")
    assert (done.exception, done.return_value) == (None, 0)
    local.table["write"] = {"*": 97.0, "gpu1<gpu3": 41.5}
    refused = call(monkeypatch, read, local, str(site.file), "--fabric")
    assert getattr(refused.exception, "exit_code", None) == 1 and "41.5" in str(refused.exception)


def test_the_verb_says_the_same_as_json(
    readings: tuple[Site, dict[str, Reading]], local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, read = readings
    local.table["write"] = {"*": 41.5}
    done = call(monkeypatch, read, local, str(site.file), "--fabric", "--json")
    told = json.loads(done.stdout)
    assert done.return_value == 1 and told["ok"] is False and len(told["problems"]) == 3
    written = {frozenset(one["hosts"]): one["value"] for one in told["pairs"] if one["kind"] == "write"}
    assert written == {frozenset(pair): 41.5 for pair in (("gpu1", "gpu2"), ("gpu1", "gpu3"), ("gpu2", "gpu3"))}
    assert told["hosts"]["gpu1"]["environment"]["NCCL_SOCKET_IFNAME"] == "=eno1"


def test_a_site_without_a_fabric_is_told_so(tmp_path: Path) -> None:
    from click.testing import CliRunner

    path = tmp_path / "site.yml"
    path.write_text((SITE % ("  gpu1: {address: 10.0.0.1, roles: [engine]}", "")).split("fabric:")[0])
    done = CliRunner().invoke(cli, ["check", str(path), "--fabric"], standalone_mode=False)
    assert "no section fabric" in str(done.exception)
