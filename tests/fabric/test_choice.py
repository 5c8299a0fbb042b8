"""Which ports carry NCCL, from hosts as their sysfs showed them (tests/facts/Fabric)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsdeploy import facts
from dsdeploy.fabric import choice
from dsdeploy.fabric.choice import Choice
from dsdeploy.facts import Fabric
from dsdeploy.site.fabric import Fabric as Settings

CASES = Path(__file__).resolve().parents[1] / "facts" / "Fabric"


def host(name: str) -> Fabric:
    output = json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))["output"]
    read: Fabric = facts.reader(Fabric).process(output)
    return read


def choose(name: str, address: str = "10.0.0.21", **wanted: Any) -> Choice:
    return choice.choose(host(name), Settings.model_validate(wanted), address)


def test_infiniband_takes_the_port_that_is_up_and_needs_no_gid() -> None:
    found = choose("edr-connectx-4")
    assert found.environment == {
        "GLOO_SOCKET_IFNAME": "eno1", "NCCL_IB_HCA": "=mlx5_0:1", "NCCL_SOCKET_IFNAME": "=eno1",
    }  # fmt: skip
    assert found.problems == ()
    assert found.left_out == {"mlx5_1:1": "no link (disabled)"}


def test_the_slower_card_for_storage_is_left_out_by_itself() -> None:
    found = choose("hdr-connectx-6")
    assert [rail.name for rail in found.rails] == ["mlx5_0:1"]
    assert found.left_out == {"mlx5_4:1": "speaks ethernet, not infiniband"}
    assert found.warnings == () and found.problems == ()


def test_roce_takes_the_index_of_the_ipv4_address_in_version_2() -> None:
    found = choose("roce-v2-connectx-7")
    assert found.environment["NCCL_IB_GID_INDEX"] == "3"
    assert found.environment["NCCL_IB_HCA"] == "=mlx5_0:1"
    assert found.environment["NCCL_SOCKET_IFNAME"] == "=eno1"


def test_a_twin_that_runs_slower_is_named() -> None:
    found = choose("ndr-connectx-7")
    assert [rail.name for rail in found.rails] == ["mlx5_0:1"]
    assert found.warnings == ("mlx5_1 is left out, others of its kind are not: init: no subnet manager has set it up",)


@pytest.mark.parametrize("name", ["rxe-rate-100", "rxe-over-connectx", "siw-over-ixgbe"])
def test_soft_devices_carry_nothing(name: str) -> None:
    found = choose(name)
    assert found.rails == () and found.environment == {}
    assert "a soft device, no hardware" in found.problems[0]


def test_a_soft_device_named_in_the_site_file_is_refused_all_the_same() -> None:
    found = choose("rxe-rate-100", devices=["rxe0"])
    assert found.rails == () and found.problems


@pytest.mark.parametrize(
    ("name", "wanted", "problem"),
    [
        ("none", {}, "0 of 1 RDMA ports can be used; there is no RDMA device"),
        ("edr-connectx-4", {"ports": 2}, "1 of 2 RDMA ports can be used; mlx5_1:1: no link (disabled)"),
        ("edr-connectx-4", {"rate": 200}, "mlx5_0:1: runs at 100 Gb/s, not 200"),
        ("edr-connectx-4", {"link": "roce"}, "mlx5_0:1: speaks infiniband, not roce"),
        ("edr-connectx-4", {"devices": ["mlx5_7"]}, "there is no RDMA device mlx5_7; there are mlx5_0, mlx5_1"),
        ("edr-connectx-4", {"devices": ["mlx5_0", "mlx5_1"]}, "mlx5_1 of the site file cannot be used"),
        ("edr-connectx-4", {"exclude": ["mlx5_0"]}, "mlx5_0:1: excluded in the site file"),
        ("edr-connectx-4", {"interface": "bond7"}, "there is no network interface bond7"),
        ("ndr-connectx-7", {"ports": 2}, "mlx5_1:1: init: no subnet manager has set it up"),
    ],
)
def test_what_the_site_file_asks_and_the_host_has_not_is_said(name: str, wanted: dict[str, Any], problem: str) -> None:
    assert any(problem in found for found in choose(name, **wanted).problems)


def test_a_host_name_as_address_asks_for_the_interface() -> None:
    found = choose("edr-connectx-4", address="gpu1.example.net")
    assert found.problems == ("no network interface has the address gpu1.example.net: name it as fabric.interface",)
    assert found.environment == {}
    named = choose("edr-connectx-4", address="gpu1.example.net", interface="eno1")
    assert named.problems == () and named.environment["NCCL_SOCKET_IFNAME"] == "=eno1"


def test_an_ethernet_port_without_an_address_is_no_roce() -> None:
    read = host("roce-v2-connectx-7")
    port = replace(read.devices[0].ports[0], gids=tuple(g for g in read.devices[0].ports[0].gids if not g.ipv4))
    bare = replace(read, devices=(replace(read.devices[0], ports=(port,)),))
    found = choice.choose(bare, Settings(), "10.0.0.21")
    assert found.problems == ("mlx5_0:1: no RoCE v2 address; give its network interface an IPv4 address",)


def test_several_indexes_are_left_to_nccl_and_said() -> None:
    read = host("roce-v2-connectx-7")
    first = read.devices[0]
    moved = tuple(replace(gid, index=gid.index + 2) for gid in first.ports[0].gids)
    second = replace(first, name="mlx5_10", ports=(replace(first.ports[0], gids=moved),))
    third = replace(first, name="mlx5_2")
    found = choice.choose(replace(read, devices=(second, first, third)), Settings(), "10.0.0.21")
    assert found.environment["NCCL_IB_HCA"] == "=mlx5_0:1,mlx5_2:1,mlx5_10:1"  # numbers sort as numbers
    assert "NCCL_IB_GID_INDEX" not in found.environment
    assert "2.21" in found.warnings[0]
