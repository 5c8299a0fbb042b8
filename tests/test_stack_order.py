"""Orders: what each host is told to install, as the role takes it, and what Python makes of the state it finds."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dsdeploy import plan, preflight, site
from dsdeploy.facts import (
    BusGpus,
    DriverModule,
    Engines,
    EngineState,
    Gpu,
    Gpus,
    Interpreter,
    NvSwitch,
    Os,
    SecureBoot,
    StackState,
    reader,
)  # fmt: skip
from dsdeploy.hosts import Reading
from dsdeploy.stacks import Host, fleet, matrix, reach, sources, work
from dsdeploy.stacks.order import Order, order

ROOT = Path(__file__).resolve().parent.parent
BOOT, NEXT = "5c3b2a6e-6f0a-4c1e-9d4e-0b1f0a4c9e11", "0b1f0a4c-6f0a-4c1e-9d4e-5c3b2a6e9e11"
EVERY = [
    (profile.name, name)
    for profile in matrix().profiles.values()
    for name, packages in profile.installs.items()
    if packages.driver
]


def told(profile: str, distribution: str, mirror: str = "", nvswitch: bool = True, **more: Any) -> Order:
    known = matrix()
    place = known.distributions[distribution]
    found = order(known, known.profiles[profile], Host(place.ids[0], place.version, **more), mirror, nvswitch)
    assert found is not None
    return found


def names(found: Order) -> dict[str, str]:
    return {one["name"]: one["version"] for step in found["steps"] for one in step}


@pytest.mark.parametrize(("profile", "distribution"), EVERY)
def test_each_order_has_what_the_role_declares_and_nothing_else(profile: str, distribution: str) -> None:
    options = yaml.safe_load((ROOT / "roles/stack/meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    kinds = {"str": str, "list": list, "bool": bool}
    found = {f"stack_{name}": value for name, value in told(profile, distribution).items()}
    assert set(found) <= set(options)
    assert {name for name, option in options.items() if option.get("required")} <= set(found)
    assert [name for name, value in found.items() if not isinstance(value, kinds[options[name]["type"]])] == []
    assert found["stack_manager"] in options["stack_manager"]["choices"]


@pytest.mark.parametrize(("profile", "distribution"), EVERY)
def test_no_order_names_a_metapackage_that_drags_a_driver_in(profile: str, distribution: str) -> None:
    found = told(profile, distribution)
    series = matrix().profiles[profile].cuda.replace(".", "-")
    assert not {"cuda", f"cuda-{series}"} & set(names(found)) and f"cuda-toolkit-{series}" in names(found)


@pytest.mark.parametrize(("profile", "distribution"), EVERY)
def test_fabric_manager_comes_with_nvswitch_alone_in_the_drivers_transaction_at_its_version(
    profile: str, distribution: str
) -> None:
    found, without = told(profile, distribution), told(profile, distribution, nvswitch=False)
    (fabric,) = [name for name in names(found) if "fabric" in name]
    (step,) = [step for step in found["steps"] if any(one["name"] == fabric for one in step)]
    driver = [one for one in step if one["name"].startswith(("nvidia-open", "cuda-drivers", "nvidia-driver-branch"))]
    assert driver and {one["version"] for one in driver} == {names(found)[fabric]}
    assert "nvidia-fabricmanager.service" in found["services"] and "fabric" in {c["what"] for c in found["checks"]}
    assert not [name for name in names(without) if "fabric" in name] and "fabric" not in str(without["checks"])
    assert found["digest"] != without["digest"]


def test_a_volta_gets_proprietary_modules_whether_its_driver_or_only_the_bus_tells() -> None:
    known = matrix()
    by_bus = told("cuda12.8", "el9", devices=(0x1DB5,))
    assert by_bus["flavour"] == "proprietary" and by_bus["stream"] == "nvidia-driver:580-dkms"
    assert told("cuda12.8", "el9", devices=(0x2335,))["flavour"] == "open"
    mixed = Host("rocky", "9.4", devices=(0x1DB5, 0x2901))
    assert order(known, known.profiles["cuda12.8"], mixed) is None, "nothing drives Volta and Blackwell together"


def test_the_compat_package_is_for_drivers_older_than_their_cuda() -> None:
    assert "cuda-compat-11-6" in names(told("legacy-cuda11.6", "centos7"))
    assert not [name for name in names(told("cuda13", "ubuntu24.04")) if "compat" in name]


def test_a_mirror_is_in_front_of_every_url_the_keys_too() -> None:
    found = told("legacy-cuda11.6", "centos7", "http://192.0.2.1/p/")
    urls = [one["url"] for one in [*found["keys"], *found["repositories"]]]
    assert len(urls) == 8 and all(url.startswith("http://192.0.2.1/p/") for url in urls)
    assert "http://192.0.2.1/p/vault.centos.org/7.9.2009/updates/x86_64/" in urls
    assert sources.mirrored("https://a.example/b/c", "") == "https://a.example/b/c"
    own = [one["url"] for one in told("legacy-cuda11.6", "centos7")["repositories"]]
    assert not [url for url in own if "mirror.centos.org" in url or "mirrorlist" in url]
    assert "CentOS-*.repo" in found["displaced"] and "CentOS-*.repo" not in told("cuda13", "el9")["displaced"]


# --- what is found, and what follows

ORDER = told("cuda13", "ubuntu24.04")
DRIVER = ORDER["driver"]


@pytest.mark.parametrize(
    ("library", "loaded", "built", "nouveau", "words"),
    [
        (DRIVER, DRIVER, DRIVER, False, ""),
        ("", "", "", False, ""),
        (DRIVER, "580.95.05", DRIVER, False, "the module in memory is 580.95.05"),
        ("580.95.05", "580.65.06", "580.95.05", False, "the libraries are 580.95.05"),
        (DRIVER, "", DRIVER, False, "not in memory"),
        (DRIVER, "", DRIVER, True, "nouveau"),
        ("", "", "", True, ""),
    ],
)
def test_a_restart_is_needed_only_where_nothing_else_helps(
    library: str, loaded: str, built: str, nouveau: bool, words: str
) -> None:
    state = StackState(ORDER["digest"], library, built, BOOT, nouveau)
    why = work.restart(ORDER, state, DriverModule(loaded, "open" if loaded else "", ""))
    assert words in why and bool(why) == bool(words)


@pytest.mark.parametrize(
    ("boot", "loaded", "words"),
    [
        (NEXT, DRIVER, ""),
        (BOOT, DRIVER, "was not restarted"),
        (NEXT, "580.95.05", "the driver in memory is 580.95.05"),
        (NEXT, "", "the driver in memory is none"),
        ("", DRIVER, "could not be read"),
    ],
)
def test_a_restart_counts_with_another_boot_and_the_ordered_driver(boot: str, loaded: str, words: str) -> None:
    why = work.proven(ORDER, StackState(boot=BOOT), StackState(boot=boot), DriverModule(loaded, "open", ""))
    assert words in why and bool(why) == bool(words)
    assert work.proven(ORDER, StackState(boot=BOOT), None, None)


def test_hosts_somebody_needs_are_restarted_alone_and_last() -> None:
    assert work.batches(["a", "m1", "b", "m2"], {"m1", "m2", "gw"}) == [("a", "b"), ("m1",), ("m2",)]
    assert work.batches([], {"m1"}) == []


# --- the examples

SYSTEMS = {
    "legacy-cuda11.6": (
        Os("centos", "7", "redhat", "x86_64", "3.10.0-1160.119.1.el7.x86_64", "2.17", "3.6.8", 64),
        # Ansible's from the vault; the engine's wheels need one that an operator put there
        Interpreter("/opt/rh/rh-python38/root/usr/bin/python3", "3.8", (("/usr/local/bin/python3.12", "3.12"),)),
        NvSwitch(0, 4), BusGpus([0x20B2] * 4),
    ),
    "two-node-h200": (
        Os("ubuntu", "24.04", "debian", "x86_64", "6.8.0-41-generic", "2.39", "3.12.3", 192),
        Interpreter("/usr/bin/python3", "3.12"), NvSwitch(4, 8), BusGpus([0x2335] * 8),
    ),
    "air-gapped": (
        Os("rocky", "9.4", "redhat", "x86_64", "5.14.0-427.13.1.el9_4.x86_64", "2.34", "3.9.18", 64),
        Interpreter("/usr/bin/python3", "3.9", (("/usr/bin/python3.12", "3.12"),)), NvSwitch(0, 4),
        BusGpus([0x26B9] * 4),
    ),
}  # fmt: skip


def bare(example: str, host: str, loaded: site.Site, *more: object) -> Reading:
    """A machine of the example as it is delivered, in the shape its facts have."""
    values = (*SYSTEMS[example], StackState(boot=BOOT, nouveau=True), SecureBoot(False, "bios"), Gpus(),
              DriverModule(), *more)  # fmt: skip
    return Reading(host, True, values={type(value): value for value in values})


@pytest.mark.parametrize("example", SYSTEMS)
def test_each_example_plans_its_stack_on_bare_machines_as_the_golden_orders_say(
    example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "core", lambda: "2.16.19")
    loaded = site.load(ROOT / "inventory" / example / "site.yml")
    readings = {host: bare(example, host, loaded) for host in loaded.with_role("engine")}
    made = plan.make(loaded, readings, None)
    assert [problem.what for problem in made.problems] == []
    assert [action.host for action in made.actions if action.stage == "stack"] == list(readings)
    found = {host: one.order for host, one in work.work(loaded, readings).items()}
    golden = ROOT / "tests" / "golden" / example / "orders.json"
    if os.environ.get("DSDEPLOY_GOLDEN") == "write":
        golden.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(golden.read_text(encoding="utf-8"))


def test_no_host_of_the_air_gapped_example_is_told_of_a_server_outside() -> None:
    """Plan and inventory as the golden files have them: packages, keys, weights, ZooKeeper, wheels."""
    loaded = site.load(ROOT / "inventory" / "air-gapped" / "site.yml")
    mirror = str(loaded.packages.mirror)
    golden = ROOT / "tests" / "golden" / "air-gapped"
    told = "".join(path.read_text(encoding="utf-8") for path in golden.iterdir())
    servers = set(re.findall(r"https?://[^/\s\"']+", told))
    assert servers == {mirror.removesuffix("/packages/")} and len(list(golden.iterdir())) == 3
    orders = json.loads((golden / "orders.json").read_text(encoding="utf-8"))
    urls = [one["url"] for order in orders.values() for one in (*order["keys"], *order["repositories"])]
    assert len(urls) >= 4 and all(url.startswith(mirror) for url in urls)


@pytest.mark.parametrize(
    ("example", "core", "cure"),
    [
        ("legacy-cuda11.6", "2.19.14", "pip install 'dsdeploy[el7]'"),
        ("legacy-cuda11.6", "2.16.19", ""),
        ("air-gapped", "2.21.5", ""),
        ("two-node-h200", "2.19.14", ""),
    ],
)
def test_a_system_this_ansible_cannot_manage_is_refused_with_the_command_that_helps(
    example: str, core: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "core", lambda: core)
    loaded = site.load(ROOT / "inventory" / example / "site.yml")
    host = loaded.with_role("engine")[0]
    found = preflight.problems(loaded, {host: bare(example, host, loaded)})
    assert [problem.hint for problem in found] == ([cure] if cure else [])


def test_el8_can_be_managed_by_2_16_and_again_from_2_21_on() -> None:
    rocky = Os("rocky", "8.10", "redhat", "x86_64", "4.18.0", "2.28", "3.12.1", 4)
    refused = {core for core in ("2.16.19", "2.18.1", "2.19.14", "2.20.3", "2.21.0") if reach.problem(rocky, core)}
    assert refused == {"2.18.1", "2.19.14", "2.20.3"}


def test_centos_7_with_its_own_python_alone_is_told_where_another_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "core", lambda: "2.16.19")
    loaded = site.load(ROOT / "inventory" / "legacy-cuda11.6" / "site.yml")
    old = Os("centos", "7", "redhat", "x86_64", "3.10.0", "2.17", "", 64)
    (found,) = preflight.problems(loaded, {"gpu1": bare("legacy-cuda11.6", "gpu1", loaded, old, Interpreter())})
    assert "no Python 3" in found.what and "rh-python38" in found.hint


def test_a_python_elsewhere_is_what_ansible_is_told_to_use() -> None:
    loaded = site.load(ROOT / "inventory" / "legacy-cuda11.6" / "site.yml")
    readings = {"gpu1": bare("legacy-cuda11.6", "gpu1", loaded), "gpu2": Reading("gpu2", True)}
    assert reach.interpreters(readings) == {"gpu1": "/opt/rh/rh-python38/root/usr/bin/python3"}


@pytest.mark.parametrize("stack", ["legacy-cuda11.6", "cpu"])
def test_a_gateway_is_asked_for_its_python_as_an_engine_host_is(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not asked, a CentOS 7 or EL8 gateway was refused for its system's Python for ever."""
    monkeypatch.setattr(reach, "core", lambda: "2.16.19")
    loaded = site.load(ROOT / "inventory" / "legacy-cuda11.6" / "site.yml").model_copy(update={"stack": stack})
    assert Interpreter in plan.READ and reader(Interpreter).arguments(loaded, "gw1") is not None
    old, other, *_ = SYSTEMS["legacy-cuda11.6"]
    gateway = Reading("gw1", True, values={Os: old, Interpreter: other})
    assert [one.what for one in preflight.problems(loaded, {"gw1": gateway})] == []
    assert reach.interpreters({"gw1": gateway}) == {"gw1": "/opt/rh/rh-python38/root/usr/bin/python3"}


def h200(*more: object) -> tuple[site.Site, dict[str, Reading]]:
    loaded = site.load(ROOT / "inventory" / "two-node-h200" / "site.yml")
    return loaded, {"h200a": bare("two-node-h200", "h200a", loaded, *more)}


def cards(driver: str) -> Gpus:
    return Gpus(Gpu(index, "NVIDIA H200", f"GPU-{index}", 143771 * 2**20, 0, driver) for index in range(8))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([cards("470.57.02"), DriverModule("470.57.02", "proprietary", "")], "needs driver 580.65.06"),
        ([cards("580.95.05"), DriverModule("580.95.05", "open", "580.82.07")], "Fabric Manager 580.82.07"),
        ([DriverModule("580.82.07", "open", ""), StackState("", "580.95.05", "580.95.05", BOOT)], "580.82.07"),
    ],
)
def test_what_the_run_mends_does_not_stop_it_and_is_said(more: list[object], words: str) -> None:
    loaded, readings = h200(*more)
    assert fleet.problems(loaded, "h200a", readings["h200a"]) == []
    assert words in " ".join(warning.what for warning in fleet.warnings(loaded, readings))
    assert work.work(loaded, readings)["h200a"].any


def test_a_host_without_a_gpu_on_its_bus_is_still_refused() -> None:
    loaded, readings = h200(NvSwitch(0, 0), BusGpus())
    (found,) = preflight.problems(loaded, readings)
    assert "no NVIDIA GPU answers on h200a" in found.what


def test_a_host_that_carried_its_order_out_is_left_alone_and_one_that_serves_is_known() -> None:
    loaded, readings = h200()
    digest = work.work(loaded, readings)["h200a"].order["digest"]
    driver = work.work(loaded, readings)["h200a"].order["driver"]
    done = (StackState(digest, driver, driver, BOOT), DriverModule(driver, "open", driver), cards(driver))
    loaded, readings = h200(*done)
    assert not work.work(loaded, readings)["h200a"].any
    assert [action for action in plan.make(loaded, readings, None).actions if action.stage == "stack"] == []
    state = EngineState("blue", "r1", "r1", "active", 8101, "ok", True)
    loaded, readings = h200(*done, StackState("0" * 16, driver, driver, BOOT), Engines({"blue": state}))
    found = work.work(loaded, readings)["h200a"]
    assert found.running == ("blue",) and "another" in found.why
    (action,) = [action for action in plan.make(loaded, readings, None).actions if action.stage == "stack"]
    assert "while it is drained" in action.what


def test_hosts_that_bring_their_own_driver_get_no_order() -> None:
    loaded, readings = h200(cards("470.57.02"))
    own = loaded.model_copy(update={"packages": loaded.packages.model_copy(update={"managed": False})})
    assert work.work(own, readings) == {} and fleet.problems(own, "h200a", readings["h200a"])
