"""Engine hosts as read, against the stack of their site: what `check`, `plan` and `up` refuse or warn of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dsdeploy import plan, preflight
from dsdeploy.commands import check as command
from dsdeploy.facts import BusGpus, DriverModule, Gpu, Gpus, Interpreter, NvSwitch, Os, SecureBoot, StackState
from dsdeploy.hosts import Reading
from dsdeploy.site import Site
from dsdeploy.site.packages import Packages
from dsdeploy.stacks import fleet

MIB = 2**20
DEBIAN = Os("debian", "12", "debian", "x86_64", "6.1.0-26-amd64", "2.36", "3.11.2", 64)
NOBLE = Os("ubuntu", "24.04", "debian", "x86_64", "6.8.0-41-generic", "2.39", "3.12.3", 192)


def cards(name: str = "NVIDIA H200", count: int = 8, driver: str = "580.95.05", mib: int = 143771) -> Gpus:
    return Gpus(Gpu(index, name, f"GPU-{index}", mib * MIB, 0, driver) for index in range(count))


def reading(host: str = "gpu1", *values: object) -> Reading:
    """A host in order with eight H200 and NVSwitch, some facts replaced."""
    facts: dict[type[Any], object] = {
        Os: NOBLE,
        Gpus: cards(),
        DriverModule: DriverModule("580.95.05", "open", "580.95.05"),
        NvSwitch: NvSwitch(4, 8),
        SecureBoot: SecureBoot(False, "efivars"),
    }
    return Reading(host, True, values=facts | {type(value): value for value in values})


@pytest.fixture
def gpu_site(lab_site: Site) -> Site:
    """Hosts bring their own driver: it is judged as it is. `managed_site` is the other kind."""
    return lab_site.model_copy(update={"stack": "cuda13", "packages": Packages(managed=False)})


@pytest.fixture
def managed_site(lab_site: Site) -> Site:
    return lab_site.model_copy(update={"stack": "cuda13"})


def test_a_host_in_order_is_neither_refused_nor_warned_of(gpu_site: Site) -> None:
    assert fleet.problems(gpu_site, "gpu1", reading()) == []
    assert fleet.warnings(gpu_site, {"gpu1": reading()}) == ()


def test_a_cpu_site_is_not_judged_however_wrong_its_hosts_would_be(lab_site: Site) -> None:
    wrong = reading("gpu1", Os("centos", "7", "redhat", "x86_64", "3.10.0", "2.17", "3.8.0", 4), SecureBoot(True))
    assert lab_site.stack == "cpu"
    assert fleet.verdicts(lab_site, "gpu1", wrong) == () and fleet.warnings(lab_site, {"gpu1": wrong}) == ()


def test_only_engine_hosts_that_were_read_are_judged(gpu_site: Site) -> None:
    assert fleet.verdicts(gpu_site, "gw2", reading("gw2", SecureBoot(True), cards(driver="470.57.02"))) == ()
    assert fleet.verdicts(gpu_site, "gpu1", Reading("gpu1", False, "no route")) == ()
    assert fleet.verdicts(gpu_site, "gpu1", Reading("gpu1", True)) == ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([cards(driver="470.57.02")], ["needs driver 580.65.06", "driver 580.178.04 (open modules)"]),
        (
            [DriverModule("580.95.05", "open", "580.82.07")],
            ["Fabric Manager 580.82.07", "with Fabric Manager 580.95.05"],
        ),
        ([DriverModule("580.82.07", "open", "580.95.05")], ["in memory is 580.82.07", "with a reboot"]),
        ([cards("Tesla V100-SXM2-32GB")], ["below 7.5", "stack cuda12.8"]),
        ([cards("NVIDIA B200"), DriverModule("580.95.05", "proprietary", "580.95.05")], ["only open modules drive it"]),
        ([Gpus(), SecureBoot(True, "mokutil")], ["mokutil --import", "Secure Boot off"]),
        ([Os("ubuntu", "20.04", "debian", "x86_64", "5.4.0", "2.31", "3.8.10", 4)], ["12.9", "cuda12.8 on this host"]),
    ],
)
def test_an_error_is_a_problem_with_the_nearest_that_works(
    gpu_site: Site, values: list[object], words: list[str]
) -> None:
    found = fleet.problems(gpu_site, "gpu1", reading("gpu1", *values))
    assert found and all(one.hint.startswith("nearest that works: ") for one in found)
    text = " ".join(f"{one.what} {one.hint}" for one in found)
    for word in ("stack cuda13 on gpu1", *words):
        assert word in text
    assert {one.what for one in found} <= {
        one.what for one in preflight.problems(gpu_site, {"gpu1": reading("gpu1", *values)})
    }


@pytest.mark.parametrize(
    ("runtime", "image", "told", "words"),
    [
        ("vllm", "", Interpreter("/usr/bin/python3", "3.9"), ["vllm needs Python 3.11 to 3.13, gpu1 has 3.9",
                                                              "python3.12 of Rocky", "engine.image"]),
        ("llamacpp", "", Interpreter("/usr/bin/python3", "3.9"), ["llamacpp needs Python 3.10"]),
        ("vllm", "", Interpreter("/usr/bin/python3", "3.9", (("/usr/bin/python3.12", "3.12"),)), []),
        ("vllm", "registry.example/vllm@sha256:" + "0" * 64, Interpreter("/usr/bin/python3", "3.9"), []),
    ],
)  # fmt: skip
def test_a_runtime_without_its_python_is_refused_before_a_driver_is_installed(
    managed_site: Site, runtime: str, image: str, told: Interpreter, words: list[str]
) -> None:
    """`decide` would refuse it as well, after the driver and the weights."""
    engine = managed_site.engine.model_copy(update={"runtime": runtime, "image": image})
    site = managed_site.model_copy(update={"engine": engine})
    rocky = Os("rocky", "9.4", "redhat", "x86_64", "5.14.0-427.el9", "2.34", "3.9.18", 64)
    found = fleet.problems(site, "gpu1", reading("gpu1", rocky, told, StackState()))
    text = " ".join(f"{one.what} {one.hint}" for one in found)
    assert bool(found) == bool(words) and all(word in text for word in words), text


def test_a_driver_that_secure_boot_trusts_by_another_key_does_not_open_the_way_for_one_built_here(
    managed_site: Site,
) -> None:
    """Canonical's or NVIDIA's signature on the module in memory says nothing of this host's own key."""
    boot = SecureBoot(True, "mokutil")
    for state in (StackState(), StackState(signer="Canonical Ltd. Kernel Module Signing")):
        (problem,) = fleet.problems(managed_site, "gpu1", reading("gpu1", boot, state))
        assert "enrol their signing key" in problem.what
    own = StackState(signer="gpu1 Secure Boot Module Signature key", own_key=True)
    assert fleet.problems(managed_site, "gpu1", reading("gpu1", boot, own)) == []
    bare = (boot, own, Gpus(), DriverModule())
    assert fleet.problems(managed_site, "gpu1", reading("gpu1", *bare)), (
        "nothing in memory: nobody trusted that key yet"
    )


def test_a_driver_from_a_run_file_is_refused_before_anything_is_touched(managed_site: Site, gpu_site: Site) -> None:
    state = StackState(runfile=True)
    (problem,) = fleet.problems(managed_site, "gpu1", reading("gpu1", state))
    assert ".run file" in problem.what and "nvidia-uninstall --silent" in problem.hint
    assert fleet.problems(gpu_site, "gpu1", reading("gpu1", state)) == [], "a host that brings its own may have it so"


def test_gpus_on_the_bus_that_no_installed_driver_makes_answer_are_a_failure(managed_site: Site) -> None:
    driver = fleet.ordered(managed_site, "gpu1", reading())
    assert driver is not None
    state = StackState(library=str(driver["driver"]))
    problem = fleet.silent(managed_site, "gpu1", reading("gpu1", state, Gpus()))
    assert problem is not None and "8 NVIDIA GPUs are on its bus, none answers" in problem.what
    assert fleet.silent(managed_site, "gpu1", reading("gpu1", state)) is None
    assert fleet.silent(managed_site, "gpu1", reading("gpu1", StackState(), Gpus())) is None, "not installed yet"
    assert fleet.silent(managed_site, "gpu1", reading("gpu1", state, Gpus(), NvSwitch(0, 0))) is None


@pytest.mark.parametrize(
    ("values", "fabric", "nvlsm"),
    [
        ([Gpus(), NvSwitch(0, 8), BusGpus([0x2901] * 8)], True, True),  # HGX B200 as it is delivered
        ([cards("NVIDIA B200"), NvSwitch(0, 8)], True, True),
        ([cards("NVIDIA B300 SXM6 AC"), NvSwitch(0, 8)], True, True),
        ([Gpus(), NvSwitch(0, 8), BusGpus([0x3182] * 8)], True, True),
        ([cards("NVIDIA GB200", 4), NvSwitch(0, 4)], False, False),  # its switches are trays with their own
        ([cards("NVIDIA H100 80GB HBM3"), NvSwitch(4, 8)], True, False),
        ([cards("NVIDIA H100 PCIe", 2), NvSwitch(0, 2)], False, False),
        ([cards("NVIDIA A100-SXM4-80GB"), NvSwitch(6, 8)], True, False),
        ([cards("NVIDIA A100-SXM4-80GB", 4), NvSwitch(0, 4)], False, False),
        ([Gpus(), NvSwitch(0, 4), BusGpus([0x20B2] * 4)], False, False),
    ],
)
def test_fabric_manager_is_ordered_where_the_board_has_switches_seen_or_hidden(
    managed_site: Site, values: list[object], fabric: bool, nvlsm: bool
) -> None:
    found = fleet.ordered(managed_site, "gpu1", reading("gpu1", *values))
    assert found is not None
    names = {one["name"] for step in found["steps"] for one in step}
    assert ("nvidia-fabricmanager" in names, "nvlsm" in names) == (fabric, nvlsm)
    assert ("ib_umad" in found["kernel_modules"]) == nvlsm


def test_a_warning_is_said_once_for_all_hosts_it_is_true_of(gpu_site: Site) -> None:
    boot = SecureBoot(True, "mokutil")
    found = fleet.warnings(gpu_site, {"gpu1": reading("gpu1", boot), "gpu2": reading("gpu2", boot)})
    assert len(found) == 1 and found[0].what.startswith("gpu1, gpu2: Secure Boot is on")


def test_a_gpu_that_fell_off_the_bus_is_missed(gpu_site: Site) -> None:
    (warning,) = fleet.warnings(gpu_site, {"gpu1": reading("gpu1", cards(count=7))})
    assert "8 NVIDIA GPUs are on the bus, 7 of them answer" in warning.what


def test_only_the_devices_of_the_engine_count(gpu_site: Site) -> None:
    mixed = Gpus([*cards(count=1), Gpu(1, "Tesla V100-PCIE-16GB", "GPU-1", 16384 * MIB, 0, "580.95.05")])
    assert "below 7.5" in fleet.problems(gpu_site, "gpu1", reading("gpu1", mixed))[0].what
    engine = gpu_site.engine.model_copy(update={"devices": (0,)})
    chosen = gpu_site.model_copy(update={"engine": engine})
    assert fleet.problems(chosen, "gpu1", reading("gpu1", mixed)) == []


def test_the_model_of_the_site_is_weighed_where_the_catalogue_knows_it(gpu_site: Site) -> None:
    model = gpu_site.model.model_copy(update={"name": "deepseek-v3"})
    engine = gpu_site.engine.model_copy(update={"precision": "fp8"})
    large = gpu_site.model_copy(update={"model": model, "engine": engine})
    small = reading("gpu1", cards("NVIDIA H100 80GB HBM3", mib=81559))
    (problem,) = fleet.problems(large, "gpu1", small)
    assert "688.6 GB over 8 GPUs" in problem.what and "16x NVIDIA H100 80GB HBM3" in problem.hint
    unknown = large.model_copy(update={"model": model.model_copy(update={"name": "own-model"})})
    assert fleet.problems(unknown, "gpu1", small) == []


def test_an_answer_that_is_no_version_counts_as_no_driver(gpu_site: Site) -> None:
    host = fleet.seen(gpu_site, reading("gpu1", cards(driver="[N/A]")))
    assert host and host.driver is None


def test_the_plan_carries_warnings_and_refuses_on_problems(gpu_site: Site) -> None:
    boot = {name: reading(name, SecureBoot(True, "mokutil")) for name in ("gpu1", "gpu2")}
    made = plan.make(gpu_site, boot, None)
    assert [one.what.split(":")[0] for one in made.warnings] == ["gpu1, gpu2"] and made.problems == ()
    old = {name: reading(name, cards(driver="470.57.02")) for name in ("gpu1", "gpu2")}
    assert len(plan.make(gpu_site, old, None).problems) >= 2


@pytest.mark.parametrize("stack", ["cpu", "cuda13"])
def test_check_says_warnings_apart_and_nothing_new_for_cpu(
    stack: str, lab_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = lab_site.model_copy(update={"stack": stack})
    own = StackState(own_key=True)
    found = {name: reading(name, SecureBoot(True, "mokutil"), own) for name in ("gpu1", "gpu2")}
    monkeypatch.setattr(command, "load", lambda path: site)
    monkeypatch.setattr("dsdeploy.hosts.read", lambda *a, **k: found)
    assert command.check(site.file, as_json=True, limit=()) == 0
    answer = json.loads(capsys.readouterr().out)
    wanted = {"ok", "site", "hosts", "problems"}
    assert set(answer) == (wanted if stack == "cpu" else wanted | {"warnings"})
    assert command.check(site.file, as_json=False, limit=()) == 0
    assert ("warning: gpu1, gpu2: Secure Boot is on" in capsys.readouterr().err) == (stack == "cuda13")
