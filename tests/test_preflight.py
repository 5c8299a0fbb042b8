"""What is found before anything is touched: one case a problem, each from readings alone."""

from __future__ import annotations

from typing import Any

import pytest

from dsdeploy import preflight
from dsdeploy.facts import (
    Clock,
    Disk,
    Disks,
    Engines,
    EngineState,
    Gpu,
    Gpus,
    Memory,
    Os,
    PackageLock,
    Port,
    Ports,
    RouterState,
    SiteId,
    Srvr,
)
from dsdeploy.hosts import Reading
from dsdeploy.site import Site

GIB = 2**30
DEBIAN = Os("debian", "12", "debian", "x86_64", "6.1.0", "2.36", "3.11.2", 2)


def reading(host: str = "gpu1", **changes: Any) -> Reading:
    """A host in order, with some facts replaced by name."""
    facts: dict[str, Any] = {
        "Os": DEBIAN,
        "Clock": Clock(0.1, 0.01, True),
        "Disks": Disks({p: Disk(p, "/", 100 * GIB, 50 * GIB, 1_000_000) for p in ("/srv", "/var")}),
        "Memory": Memory(64 * GIB, 60 * GIB, 0),
        "PackageLock": PackageLock(False),
        "Ports": Ports(()),
        "SiteId": SiteId(None),
        "Gpus": Gpus(()),
        "Engines": Engines(),
        "Srvr": Srvr(False),
    } | changes
    return Reading(host, True, values={type(value): value for value in facts.values()})


def found(site: Site, host: str = "gpu1", **changes: Any) -> str:
    return " | ".join(
        f"{p.what} [{p.where}] {p.hint}" for p in preflight.problems(site, {host: reading(host, **changes)})
    )


def engines(unit: str) -> Engines:
    return Engines(blue=EngineState("blue", "v1-a", "v1-a", unit, 8101, "ok"))


def disks(**free: int) -> Disks:
    return Disks({f"/{name}": Disk(f"/{name}", "/", 100 * GIB, bytes_, 9_999_999) for name, bytes_ in free.items()})


def test_a_host_in_order_has_no_problem(lab_site: Site) -> None:
    assert found(lab_site) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SiteId": SiteId("other")}, ["belongs to the site 'other'", "'lab'"]),
        ({"Os": Os("arch", "", "other", "x86_64", "6", "2.40", "3.13.0", 2)}, ["arch", "not supported"]),
        ({"Os": Os("debian", "12", "debian", "x86_64", "6", "2.36", "", 2)}, ["no Python 3", "python3"]),
        ({"Os": Os("centos", "7", "redhat", "x86_64", "3.10", "2.17", "3.6.8", 2)}, ["Python 3.6.8", "3.8 or newer"]),
        ({"Clock": Clock(-400.0, 0.1, False)}, ["400 s behind", "NTP"]),
        ({"Disks": disks(srv=3 * 2**20, var=50 * GIB)}, ["3.0 MiB free for /srv", "needs 1.0 GiB"]),
        ({"Disks": disks(srv=50 * GIB, var=10 * 2**20)}, ["10.0 MiB free for /var"]),
        (
            {"Disks": Disks({"/srv": Disk("/srv", "/data", GIB * 9, GIB * 9, 12)})},
            ["12 inodes free for /srv", "file system /data"],
        ),
        ({"Ports": Ports([Port(8101, "*", "nginx", 7)])}, ["port 8101", "blue engine", "nginx (pid 7)"]),
        ({"Ports": Ports([Port(2181, "10.90.0.21", "redis", 8)])}, ["port 2181", "ZooKeeper", "redis (pid 8)"]),
        ({"Memory": Memory(128 * 2**20, 0, 0)}, ["64 x 2 MiB = 128.0 MiB", "more than half"]),
    ],
)
def test_a_problem_is_named_with_its_numbers(lab_site: Site, changes: dict[str, Any], words: list[str]) -> None:
    text = found(lab_site, **changes)
    for word in words:
        assert word in text


def test_our_own_programs_may_have_their_ports(lab_site: Site) -> None:
    taken = Ports([Port(8101, "*", "python", 7), Port(2181, "*", "java", 8)])
    assert found(lab_site, Ports=taken, Engines=engines("active")) == ""
    assert "port 8101" in found(lab_site, Ports=taken, Engines=engines("inactive"))


def test_the_router_port_counts_on_router_hosts_only(lab_site: Site) -> None:
    taken = Ports([Port(8000, "*", "apache2", 9)])
    assert found(lab_site, Ports=taken) == ""
    state = RouterState(active=False, health=None, servers=(), releases=())
    assert "apache2 (pid 9)" in found(lab_site, "gw2", Ports=taken, RouterState=state)
    state = RouterState(active=True, health=200, servers=(), releases=())
    assert found(lab_site, "gw2", Ports=taken, RouterState=state) == ""


def test_a_stage_alone_is_held_up_by_its_own_ports_only(lab_site: Site) -> None:
    taken = Ports([Port(8101, "*", "nginx", 7), Port(2181, "*", "redis", 8)])
    seen = {"gpu1": reading(Ports=taken)}
    named = {only: [p.what for p in preflight.problems(lab_site, seen, only)] for only in (None, "ensemble", "router")}
    assert len(named[None]) == 2 and named["router"] == []
    assert len(named["ensemble"]) == 1 and "redis (pid 8)" in named["ensemble"][0]


def test_a_prepared_host_needs_less_room(lab_site: Site) -> None:
    room = disks(srv=200 * 2**20, var=200 * 2**20)
    assert "needs" in found(lab_site, Disks=room)
    assert found(lab_site, Disks=room, SiteId=SiteId("lab")) == ""


def test_gpus_are_wanted_where_the_stack_is_not_cpu(lab_site: Site) -> None:
    site = lab_site.model_copy(update={"stack": "cuda13"})
    assert "no NVIDIA GPU answers on gpu1" in found(site)
    gpu = Gpu(0, "NVIDIA H200", "GPU-1", 141 * GIB, 0, "580.95.05")
    assert found(site, Gpus=Gpus([gpu])) == ""
    engine = site.engine.model_copy(update={"devices": (0, 3)})
    assert "GPU [3]" in found(site.model_copy(update={"engine": engine}), Gpus=Gpus([gpu]))


def test_a_busy_package_manager_is_named(lab_site: Site) -> None:
    lock = PackageLock(True, "apt-get", 4711, "/var/lib/dpkg/lock-frontend")
    (problem,) = preflight.package_locks({"gpu1": reading(PackageLock=lock)})
    assert "apt-get (pid 4711)" in problem.what and "4711" in problem.hint


def test_a_host_that_was_not_read_is_not_judged(lab_site: Site) -> None:
    assert preflight.problems(lab_site, {"gpu1": Reading("gpu1", False, "no route")}) == []
