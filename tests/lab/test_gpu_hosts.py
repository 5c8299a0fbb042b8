"""Hosts with GPUs: `up` brings the stack and the health timer, and everything that tells of GPUs tells the truth.

NVML, its GPUs and the packages are made here (gpu_world); machines, apt, systemd, SSH and dsdeploy are real.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from ..roles.stack.conftest import Key
from . import gpu_world
from .conftest import why_not
from .gpu_lab import Gpus

pytestmark = [pytest.mark.lab, pytest.mark.own_lab]

NETWORK = "10.90.14."
SITE = f"""
site: gpus
ssh: {{user: root, identity: id_ed25519, known_hosts: known_hosts}}
stack: {gpu_world.STACK}
packages: {{mirror: "http://{NETWORK}10/stack/"}}
hosts:
  one: {{address: {NETWORK}11, roles: [engine, router, zookeeper]}}
  eight: {{address: {NETWORK}12, roles: [engine]}}
host: {{transparent_hugepages: never, hugepages_2mb: 0}}
model: {{name: deepseek-tiny, version: v1, source: "http://{NETWORK}10/weights/deepseek-tiny/v1/"}}
zookeeper: {{heap: 96MiB}}
health: {{interval: 1h}}
"""
COUNT = {"one": 1, "eight": 8}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpus]:
    """Two machines with GPUs on their bus and nothing of NVIDIA's or of dsdeploy's on them yet."""
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
    made.tell("one", gpu_world.bus(1))
    made.tell("eight", gpu_world.bus(8, switches=4))
    for host in COUNT:
        made.answer(host, "driver = 580.178.04")
    yield made
    made.run("lab", "down", "--site", str(made.site))
    shutil.rmtree(folder, ignore_errors=True)


def test_up_brings_the_stack_in_place_of_a_wrong_one_and_holds_it(lab: Gpus) -> None:
    lab.stage("prep")
    lab.tell("eight", gpu_world.wrong(f"http://{NETWORK}10/stack/"))
    assert lab.stage("stack")["changed"] > 0
    for host, fabric in (("one", False), ("eight", True)):
        there = dict(line.split() for line in lab.tell(host, "dpkg-query -W").splitlines() if len(line.split()) == 2)
        drivers = {name: version.split("-")[0] for name, version in there.items() if "nvidia" in name}
        drivers.pop("nvidia-driver-pinning-580")
        assert set(drivers.values()) == {"580.178.04"} and "nvidia-open" in drivers
        assert ("nvidia-fabricmanager" in drivers) is fabric  # only where there are NVSwitches, and as the driver
        assert "cuda" not in there and "cuda-toolkit-12-8" in there
        assert "release 12.8" in lab.tell(host, "/usr/local/cuda-12.8/bin/nvcc --version")
        # there is something newer, and an upgrade by hand leaves it where it is
        assert "590.48.01" in lab.tell(host, "apt-cache madison nvidia-open")
        assert "nvidia" not in lab.tell(host, "apt-get -q -s dist-upgrade | grep ^Inst", check=False)
        units = lab.tell(host, "systemctl is-enabled nvidia-persistenced nvidia-fabricmanager", check=False)
        assert units.split()[: 1 + fabric] == ["enabled"] * (1 + fabric)
    assert lab.stage("stack")["changed"] == 0


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


def test_a_driver_that_does_not_answer_is_no_host_without_gpus(lab: Gpus) -> None:
    lab.answer("eight")
    lab.answer("one", "init = error:18")
    state, metrics = lab.look("one")
    words = "1 NVIDIA GPUs are on the bus and none can be asked: library and driver differ"
    assert any(words in one for one in state["gpu_problems"])
    assert metrics['dsdeploy_gpus{state="answering"}'] == 0 and metrics['dsdeploy_gpus{state="on_bus"}'] == 1
    assert any(words in one for one in lab.watched()["one"]) and lab.watched()["eight"] == []
