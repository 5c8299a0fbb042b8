"""Hosts with GPUs: `up` brings the stack and the health timer, everything that tells of GPUs tells the truth, and a
driver that needs a restart reaches hosts that serve without a failed request.

NVML, its GPUs, the packages and a machine's own start are made here (gpu_world, gpu_machine); machines, apt, systemd,
SSH and dsdeploy are real.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..bench.traffic import flowing
from ..load import judge
from ..roles.stack.conftest import Key
from . import families, gpu_machine, gpu_world
from .conftest import MODEL, RATE, why_not
from .gpu_lab import Gpus

pytestmark = [pytest.mark.lab, pytest.mark.own_lab]

NETWORK = "10.90.14."
SITE = f"""
site: gpus
ssh: {{user: root, identity: id_ed25519, known_hosts: known_hosts}}
stack: {gpu_world.STACK}
packages: {{mirror: "http://{NETWORK}10/stack/"}}
hosts:
  gw: {{address: {NETWORK}13, roles: [router, zookeeper]}}
  one: {{address: {NETWORK}11, roles: [engine]}}
  eight: {{address: {NETWORK}12, roles: [engine]}}
host: {{transparent_hugepages: never, hugepages_2mb: 0}}
model: {{name: deepseek-tiny, version: v1, source: "http://{NETWORK}10/weights/deepseek-tiny/v1/"}}
engine: {{runtime: llamacpp, precision: q8_0}}
zookeeper: {{heap: 96MiB}}
health: {{interval: 1h}}
"""
COUNT = {"one": 1, "eight": 8}
DRIVER = families.Branches("580.178.04", "590.48.01")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpus]:
    """A gateway, and two machines with GPUs on their bus and nothing of NVIDIA's or of dsdeploy's on them yet."""
    reason = why_not()
    if reason:
        pytest.skip(f"the lab cannot run here: {reason}")
    folder = tmp_path_factory.mktemp("gpus")
    made, key = Gpus(folder, COUNT), Key(folder / "gpg")
    gpu_world.product(folder / "product", key, "nvidia-deb")
    made.site.write_text(SITE)
    made.run("lab", "down", "--site", str(made.site), code=None)
    made.run("lab", "up", "--site", str(made.site))
    gpu_world.offer(folder / ".dsdeploy" / "gpus" / "mirror" / "stack", f"http://{NETWORK}10/stack/", key, folder)
    made.tell("one", gpu_machine.equip(1))
    made.tell("eight", gpu_machine.equip(8, switches=4))
    for host in COUNT:
        made.answer(host)
    yield made
    made.run("lab", "down", "--site", str(made.site))
    shutil.rmtree(folder, ignore_errors=True)


def test_up_brings_the_stack_in_place_of_a_wrong_one_and_holds_it(lab: Gpus) -> None:
    lab.stage("prep")
    lab.tell("eight", gpu_world.wrong(f"http://{NETWORK}10/stack/") + " && modprobe nvidia")
    assert lab.loaded("eight") == DRIVER.after
    before = lab.boots()
    with lab.mains() as on:
        assert lab.stage("stack")["changed"] > 0
    now = lab.boots()
    # the bare host's driver was loaded; where another was in memory only a restart helps, and it came back with ours
    assert on.starts == [lab.machine("eight")] and now["one"] == before["one"] and now["eight"] != before["eight"]
    assert {lab.loaded(host) for host in COUNT} == {DRIVER.now}
    for host, fabric in (("one", False), ("eight", True)):
        there = dict(line.split() for line in lab.tell(host, "dpkg-query -W").splitlines() if len(line.split()) == 2)
        drivers = {name: version.split("-")[0] for name, version in there.items() if "nvidia" in name}
        drivers.pop("nvidia-driver-pinning-580")
        assert set(drivers.values()) == {DRIVER.now} and "nvidia-open" in drivers
        assert ("nvidia-fabricmanager" in drivers) is fabric  # only where there are NVSwitches, and as the driver
        assert "cuda" not in there and "cuda-toolkit-12-8" in there
        assert "release 12.8" in lab.tell(host, "/usr/local/cuda-12.8/bin/nvcc --version")
        # there is something newer, and an upgrade by hand leaves it where it is
        assert "590.48.01" in lab.tell(host, "apt-cache madison nvidia-open")
        assert "nvidia" not in lab.tell(host, "apt-get -q -s dist-upgrade | grep ^Inst", check=False)
        units = lab.tell(host, "systemctl is-enabled nvidia-persistenced nvidia-fabricmanager", check=False)
        assert units.split()[: 1 + fabric] == ["enabled"] * (1 + fabric)
        asked = lab.tell(host, "nvidia-smi --query-gpu=index,driver_version --format=csv,noheader").splitlines()
        assert asked == [f"{gpu}, {DRIVER.now}" for gpu in range(COUNT[host])]
    assert lab.stage("stack")["changed"] == 0 and lab.boots() == now


def test_a_nightly_upgrade_would_move_the_driver_and_does_not(lab: Gpus) -> None:
    assert lab.tell("eight", gpu_world.NIGHTLY).split() == []
    lab.tell("eight", gpu_world.LOOSE)
    assert {"nvidia-open", "libcudnn9-cuda-12"} <= set(lab.tell("eight", gpu_world.NIGHTLY).split())
    lab.tell("eight", gpu_world.FAST)


def test_gpus_that_are_well_are_counted_and_nothing_is_said(lab: Gpus) -> None:
    lab.stage("health")
    assert lab.check(0)["problems"] == []
    assert lab.watched() == {"one": [], "eight": []}
    for host, count in COUNT.items():
        state, metrics = lab.look(host)
        assert state["gpu_problems"] == []
        for where in ("answering", "on_bus"):
            assert metrics[f'dsdeploy_gpus{{state="{where}"}}'] == count
        up = [value for name, value in metrics.items() if name.startswith("dsdeploy_gpu_up{")]
        assert up == [1.0] * count
    assert lab.tell("eight", "systemctl is-active dsdeploy-health.timer").strip() == "active"


def test_a_gpu_off_the_bus_refuses_a_run_and_is_named_everywhere(lab: Gpus) -> None:
    lab.answer("eight", "gpu5.* = error:15")
    words = "GPU 5: has fallen off the bus (0000:1c:00.0)"
    state, metrics = lab.look("eight")
    assert any(one.startswith(words[:30]) for one in state["gpu_problems"])
    assert metrics['dsdeploy_gpus{state="answering"}'] == 7 and metrics['dsdeploy_gpus{state="on_bus"}'] == 8
    assert sum(value for name, value in metrics.items() if name.startswith("dsdeploy_gpu_up{")) == 7
    found = lab.check(1)
    assert [one["error"] for one in found["problems"]] == [f"eight: {words}"]
    told = lab.watched()
    assert told["one"] == [] and f"gpu: {words}" in told["eight"], told


def test_xids_and_memory_errors_are_told_and_those_of_a_program_are_only_counted(lab: Gpus) -> None:
    now = float(lab.tell("eight", "cut -d' ' -f1 /proc/uptime"))
    log = "".join(
        f"[{now - ago:.6f}] NVRM: Xid (PCI:0000:{bus}:00): {code}, {text}\n"
        for ago, bus, code, text in (
            (50, "19", 31, "pid=4711, name=python, MMU Fault"),
            (40, "18", 119, "pid=4711, name=python, Timeout waiting for RPC from GSP!"),
            (30, "1a", 154, "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)"),
        )
    )
    lab.answer("eight", "gpu6.ecc.volatile.uncorrected = 3", log)
    state, metrics = lab.look("eight")
    told = lab.watched()
    assert told["one"] == [] and len(told["eight"]) == 3, told
    for words in ("GPU 1: Xid 119", "GPU 3: Xid 154", "GPU 6: 3 uncorrectable memory errors"):
        assert any(words in one for one in told["eight"]) and any(words in one for one in state["gpu_problems"])
    wanted = {"reset": 1, "reboot": 1, "application": 1, "drain": 0}
    assert {kind: metrics[f'dsdeploy_gpu_xid_errors_total{{class="{kind}"}}'] for kind in wanted} == wanted
    ecc = [
        value for name, value in metrics.items() if "ecc_errors" in name and 'gpu="6"' in name and "volatile" in name
    ]
    assert sorted(ecc) == [0, 3]
    said = lab.check(0)["warnings"]  # it runs, so nothing stands in the way; who asks is told
    assert any("Xid 119" in one for one in said) and any("uncorrectable" in one for one in said)


def test_gpus_of_several_models_are_told_apart_and_are_no_fault(lab: Gpus) -> None:
    other = "NVIDIA A100-SXM4-80GB"
    lab.answer("eight", f"gpu7.name = {other}\ngpu7.compute = 8.0\ngpu7.memory.total = 85899345920\ngpu7.nvlink = 111")
    state, metrics = lab.look("eight")
    assert state["gpu_problems"] == [] and lab.watched() == {"one": [], "eight": []}
    names = [
        part for name in metrics if name.startswith("dsdeploy_gpu_info{") for part in name.split(",") if "name=" in part
    ]
    assert names.count(f'name="{other}"') == 1 and names.count('name="NVIDIA H200"') == 7
    memory = {name: value for name, value in metrics.items() if name.startswith("dsdeploy_gpu_memory_size_bytes")}
    assert sorted(memory.values()) == [85899345920.0, *[150754820096.0] * 7]
    (said,) = [one for one in lab.check(0)["warnings"] if "several models" in one]
    assert said.startswith("eight: ") and f"7x NVIDIA H200 (Hopper, 9.0), {other} (Ampere, 8.0)" in said
    lab.answer("eight")


def test_a_site_that_says_how_many_gpus_misses_those_that_never_were(lab: Gpus) -> None:
    lab.edit("interval: 1h", "interval: 1h, gpus: 8")
    lab.stage("health")
    state, metrics = lab.look("one")
    assert state["gpu_problems"] == ["1 of 8 GPUs answer"] and metrics['dsdeploy_gpus{state="expected"}'] == 8
    assert lab.look("eight")[0]["gpu_problems"] == []
    assert lab.watched() == {"one": ["gpu: 1 of 8 GPUs answer"], "eight": []}
    assert "one: 1 of 8 GPUs answer" in lab.check(0)["warnings"]
    lab.edit("interval: 1h, gpus: 8", "interval: 1h")
    lab.stage("health")
    assert lab.look("one")[0]["gpu_problems"] == []


def test_a_host_without_any_gpu_is_named_whether_its_driver_is_loaded_or_not(lab: Gpus) -> None:
    lab.tell("one", gpu_machine.bus(0))
    lab.answer("one", count=0)
    none = "no NVIDIA GPU is on the bus"
    for begin in ("true", gpu_machine.UNLOAD):
        lab.tell("one", begin)
        state, metrics = lab.look("one")
        assert state["gpu_problems"] == [none]
        assert metrics['dsdeploy_gpus{state="answering"}'] == metrics['dsdeploy_gpus{state="on_bus"}'] == 0
        assert metrics['dsdeploy_gpu_problems{level="bad"}'] == 1
        assert lab.watched() == {"one": [f"gpu: {none}"], "eight": []}
        found = lab.check(1)
        assert [one["error"] for one in found["problems"]] == [f"stack {gpu_world.STACK}: no NVIDIA GPU answers on one"]
    assert "No such device" in lab.tell("one", "modprobe nvidia 2>&1", check=False)
    lab.tell("one", gpu_machine.bus(1) + "\nmodprobe nvidia")
    lab.answer("one")
    assert lab.look("one")[0]["gpu_problems"] == [] and lab.check(0)["problems"] == []


def test_a_driver_that_does_not_answer_is_no_host_without_gpus(lab: Gpus) -> None:
    lab.answer("eight")
    lab.answer("one", "init = error:18")
    state, metrics = lab.look("one")
    words = "1 NVIDIA GPUs are on the bus and none can be asked: library and driver differ"
    assert any(words in one for one in state["gpu_problems"])
    assert metrics['dsdeploy_gpus{state="answering"}'] == 0 and metrics['dsdeploy_gpus{state="on_bus"}'] == 1
    assert any(words in one for one in lab.watched()["one"]) and lab.watched()["eight"] == []
    lab.answer("one")


OLD = "580.65.06"
IN_MEMORY = f"""
echo {OLD} > /srv/gpu/module/nvidia/version
echo 'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {OLD}  Release Build' > /srv/gpu/driver/nvidia/version
"""


def test_a_driver_updated_under_its_module_is_named_and_the_line_that_doctor_prints_mends_it(lab: Gpus) -> None:
    words = f"NVRM: API mismatch: the client has the version {DRIVER.now}, but"
    lab.answer("one", log=f"[{lab.tell('one', 'cut -d. -f1 /proc/uptime').strip()}.0] {words}\n")
    lab.tell("one", IN_MEMORY)
    before = lab.boots()
    try:
        (found,) = drivers(lab)
        assert found["host"] == "one"
        assert found["symptom"] == f"one: module {OLD} is in memory, {DRIVER.now} is installed"
        assert found["command"] == f"dsdeploy up {lab.site} --only stack"
        actions = json.loads(lab.run("plan", str(lab.site), "--json", code=None).stdout)["actions"]
        restarts = [(one["host"], one["why"]) for one in actions if one["what"].startswith("restart the host")]
        assert restarts == [("one", f"the module in memory is {OLD}, the libraries are {DRIVER.now}")]
        with lab.mains() as on:
            lab.run(*found["command"].split()[1:], "--yes")
        assert on.starts == [lab.machine("one")] and lab.boots()["one"] != before["one"]
        assert lab.loaded("one") == DRIVER.now
    finally:
        lab.tell("one", f"{gpu_machine.UNLOAD}; modprobe nvidia")
        lab.answer("one")
    assert drivers(lab) == []


def drivers(lab: Gpus) -> list[dict[str, str]]:
    """What doctor says of drivers."""
    found = json.loads(lab.run("doctor", str(lab.site), "--json", code=None).stdout)["findings"]
    return [one for one in found if one["entry"] == "driver"]


def test_the_next_driver_restarts_hosts_that_serve_one_by_one_and_no_request_fails(lab: Gpus, tmp_path: Path) -> None:
    with lab.mains() as on:
        lab.up()
    assert on.starts == [] and lab.status()["healthy"] is True
    families.next_branch(lab.folder / "product", DRIVER)
    before = lab.boots()
    with lab.mains() as on, flowing(tmp_path / "load.jsonl", f"{NETWORK}13:8000", RATE, MODEL) as traffic:
        said = lab.up().stderr
    # one after the other, each restarted once, inside its drain, and back in rotation before the other leaves
    assert on.starts == [lab.machine(host) for host in COUNT]
    each = ("whether {0} can have stack", "gw: {0} gets no new requests", "drain {0}-", "stop {0} ",
            "stack {1} on {0}", "restart {0}", "start ", "gw: requests of {0} go to")  # fmt: skip
    words = [word.format(host, gpu_world.STACK) for host in COUNT for word in each]
    at = 0
    for word in words:
        at = said.find(word, at)
        assert at >= 0, (word, said[-6000:])
    now = lab.boots()
    assert all(now[host] != before[host] for host in COUNT)
    for host, count in COUNT.items():
        assert lab.loaded(host) == DRIVER.after
        state, metrics = lab.look(host)
        assert state["gpu_problems"] == [] and metrics['dsdeploy_gpus{state="answering"}'] == count
    assert lab.status()["healthy"] is True
    assert "0 changed" in lab.up().stderr and lab.boots() == now
    requests = traffic.history()
    assert not [one for one in requests if not one.ok or one.truncated], judge.summary(requests)
    assert len(requests) > 20 and judge.unnamed(requests) == 0
