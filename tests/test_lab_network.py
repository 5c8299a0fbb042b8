"""Who sits on the lab's addresses."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

from dsdeploy.lab.layout import Layout
from dsdeploy.lab.network import Network, interfaces, occupied, parse, taken

SUBNET = IPv4Network("10.90.0.0/24")
LAB = Layout("lab", "dsdeploy-lab", SUBNET, (), "")
PODMAN = [
    {
        "name": "dsdeploy-lab",
        "network_interface": "podman2",
        "subnets": [{"subnet": "10.90.0.0/24", "gateway": "10.90.0.1"}, {"subnet": "fd00::/64"}],
        "labels": {"dsdeploy.lab": "lab", "dsdeploy.site-file": "/x/site.yml"},
    },
    {"name": "podman", "subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}]},
]
DOCKER = [
    {"Name": "bridge", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}, "Labels": {}},
    {"Name": "host", "IPAM": {"Driver": "default", "Config": None}, "Labels": None},
]
ADDRESSES = [
    {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]},
    {"ifname": "eth0", "addr_info": [{"local": "10.90.0.7", "prefixlen": 16}]},
    {"ifname": "down0", "addr_info": []},
]


def test_networks_are_read_in_both_dialects() -> None:
    ours, default = parse(PODMAN)
    assert ours == Network("dsdeploy-lab", (SUBNET,), "lab", "/x/site.yml")
    assert default.lab == "" and not default.overlaps(SUBNET)
    bridge, host = parse(DOCKER)
    assert bridge.overlaps(IPv4Network("172.17.4.0/24")) and host.subnets == ()


def test_an_interface_in_the_subnet_is_named_unless_it_is_a_networks_own_end() -> None:
    own = interfaces(ADDRESSES)
    assert set(own) == {"lo", "eth0"}
    assert taken(SUBNET, [], own) == "eth0 (10.90.0.7/16)"
    assert taken(SUBNET, parse(PODMAN), {"podman2": (IPv4Interface("10.90.0.1/24"),)}) == ""
    assert taken(IPv4Network("10.91.0.0/24"), [], own) == ""


def test_a_strangers_network_is_named_with_its_containers() -> None:
    error = occupied(LAB, Network("web", (SUBNET,)), ["db", "cache"], "podman")
    assert error.what == "10.90.0.0/24 is in use by the network web (by db, cache)"
    assert "podman rm -f db cache; podman network rm web" in error.hint
    assert "podman rm" not in occupied(LAB, Network("web", (SUBNET,)), [], "podman").hint


def test_another_lab_is_taken_down_by_its_own_site_file(tmp_path: Path) -> None:
    other = Network("dsdeploy-b", (SUBNET,), "b", "/home/b/site.yml")
    assert occupied(LAB, other, ["dsdeploy-b-gw1"], "podman").hint == "dsdeploy lab down --site /home/b/site.yml"


def test_a_lab_is_abandoned_when_its_site_file_is_gone(tmp_path: Path) -> None:
    site = tmp_path / "site.yml"
    network = Network("dsdeploy-b", (SUBNET,), "b", str(site))
    assert network.abandoned
    site.touch()
    assert not network.abandoned
    assert not Network("web", (SUBNET,)).abandoned
