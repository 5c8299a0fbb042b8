"""What the engines of a site with a fabric are told, and that no other site notices there is such a thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dsdeploy import inventory, preflight, release
from dsdeploy.decisions import Decisions
from dsdeploy.errors import PreflightError
from dsdeploy.fabric import environment
from dsdeploy.facts import Fabric, reader
from dsdeploy.hosts import Reading
from dsdeploy.site import Site, load

from .test_choice import host

PLAIN = """\
site: t
stack: cpu
hosts:
  gw: {address: 10.0.0.9, roles: [router, zookeeper]}
  gpu1: {address: 10.0.0.21, roles: [engine]}
  gpu2: {address: 10.0.0.22, roles: [engine]}
model: {name: m, version: v1, source: /mnt/weights}
"""
NCCL = {"GLOO_SOCKET_IFNAME": "eno1", "NCCL_IB_HCA": "=mlx5_0:1", "NCCL_SOCKET_IFNAME": "=eno1"}


def site(folder: Path, fabric: str) -> Site:
    path = folder / "site.yml"
    path.write_text(PLAIN + fabric)
    return load(path)


def read(**cases: str) -> dict[str, Reading]:
    return {name: Reading(name, True, "", {Fabric: host(case)} if case else {}) for name, case in cases.items()}


def variables(loaded: Site, decided: Decisions) -> dict[str, dict[str, Any]]:
    class Reader(yaml.SafeLoader):
        """Reads YAML written for Ansible."""

    Reader.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node))
    tree = yaml.load(inventory.render(loaded, decided), Loader=Reader)["all"]
    return {name: own | tree["children"]["engine"]["vars"] for name, own in tree["hosts"].items()}


def test_each_host_is_told_its_own_ports(tmp_path: Path) -> None:
    loaded = site(tmp_path, "fabric: {interface: eno1, rate: 100, exclude: [mlx5_4]}\n")
    decided = Decisions(
        environment=environment.required(loaded, read(gpu1="edr-connectx-4", gpu2="roce-v2-connectx-7"))
    )
    told = variables(loaded, decided)
    assert told["gpu1"]["engine_environment"] == NCCL
    assert told["gpu2"]["engine_environment"] == NCCL | {"NCCL_IB_GID_INDEX": "3"}
    assert "engine_environment" not in told["gw"]
    assert told["gpu1"]["fabric_rate"] == 100 and told["gpu1"]["fabric_exclude"] == ["mlx5_4"]
    assert not [name for name in told["gpu1"] if name.startswith("fabric_ofed")]


def test_a_mirror_of_ofed_reaches_the_role(tmp_path: Path) -> None:
    key = "AB" * 20
    loaded = site(
        tmp_path, f"fabric: {{ofed: {{repository: http://m/doca/, key: http://m/KEY, fingerprint: {key}}}}}\n"
    )
    told = variables(loaded, Decisions())["gpu1"]
    assert told["fabric_ofed_repository"] == "http://m/doca/" and told["fabric_ofed_fingerprint"] == key


def test_a_site_without_a_fabric_is_as_it_was(tmp_path: Path) -> None:
    loaded = site(tmp_path, "")
    assert environment.required(loaded, read(gpu1="edr-connectx-4", gpu2="edr-connectx-4")) == {}
    assert not [name for own in variables(loaded, Decisions()).values() for name in own if "fabric" in name]
    assert reader(Fabric).arguments(loaded, "gpu1") is None  # not even asked


def test_the_release_has_the_same_id_with_and_without(tmp_path: Path) -> None:
    with_fabric = release.decide(site(tmp_path, "fabric: {rate: 400}\n"), "sha256:aa", "x86_64")
    assert with_fabric == release.decide(site(tmp_path, ""), "sha256:aa", "x86_64")


@pytest.mark.parametrize(("case", "said"), [("rxe-rate-100", "a soft device"), ("", "could not be read")])
def test_no_release_is_started_on_a_host_whose_fabric_is_not_there(tmp_path: Path, case: str, said: str) -> None:
    loaded = site(tmp_path, "fabric: {interface: eno1}\n")
    with pytest.raises(PreflightError) as refused:
        environment.required(loaded, read(gpu1="edr-connectx-4", gpu2=case))
    assert "gpu2" in str(refused.value) and said in str(refused.value)


def test_the_way_back_does_not_hang_on_a_bad_cable(tmp_path: Path) -> None:
    loaded = site(tmp_path, "fabric: {interface: eno1}\n")
    assert environment.of_hosts(loaded, read(gpu1="edr-connectx-4", gpu2="rxe-rate-100")) == {"gpu1": NCCL}


def test_check_names_the_host_before_anything_is_touched(tmp_path: Path) -> None:
    loaded = site(tmp_path, "fabric: {interface: eno1, ports: 2}\n")
    found = [problem.what for problem in preflight.problems(loaded, read(gpu1="edr-connectx-4"))]
    assert found == ["fabric of gpu1: 1 of 2 RDMA ports can be used; mlx5_1:1: no link (disabled)"]


def test_before_ofed_is_installed_its_devices_are_not_missing(tmp_path: Path) -> None:
    mirror = f"{{repository: http://m/doca/, key: http://m/KEY, fingerprint: {'AB' * 20}}}"
    loaded = site(tmp_path, f"fabric: {{interface: eno1, ofed: {mirror}}}\n")
    assert preflight.problems(loaded, read(gpu1="none")) == []


def test_warnings_of_a_fabric_are_told(tmp_path: Path) -> None:
    loaded = site(tmp_path, "fabric: {interface: bond0}\n")
    found = [warning.what for warning in preflight.warnings(loaded, read(gpu1="ndr-connectx-7"))]
    assert found == [
        "fabric of gpu1: mlx5_1 is left out, others of its kind are not: init: no subnet manager has set it up"
    ]
