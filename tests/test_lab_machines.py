"""What to run, and what to do about what is there."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from dsdeploy.lab.boot import boot_failure
from dsdeploy.lab.layout import Layout, Machine
from dsdeploy.lab.machines import Container, Wanted, asked, decide, mac, parse, run_argv
from dsdeploy.lab.podman import Podman

PODMAN = Podman("podman", None, ("--ulimit=nofile=20000:20000",), cgroup2=False)
GW1 = Machine("gw1", "10.90.0.11", "dsdeploy-lab-gw1")
MIRROR = Machine("mirror", "10.90.0.10", "dsdeploy-lab-mirror", mirror=True)
LAB = Layout("lab", "dsdeploy-lab", IPv4Network("10.90.0.0/24"), (GW1, MIRROR), "weights/m")
WANTED = Wanted(GW1, "image:1", "ssh-ed25519 AAAA", "/x/site.yml")


def found(state: str = "running", digest: str | None = None, name: str = "gw1") -> Container:
    return Container("id-1", f"dsdeploy-lab-{name}", name, digest or asked(PODMAN, LAB, WANTED), state)


@pytest.mark.parametrize(
    ("containers", "prepared", "verb"),
    [
        ([], {}, "create"),
        ([found()], {"id-1": "key"}, "reuse"),
        ([found("exited")], {"id-1": "key"}, "start"),
        ([found("created")], {}, "replace"),  # its start was not seen through
        ([found()], {"id-0": "key"}, "replace"),  # the record speaks of another
        ([found(digest="other")], {"id-1": "key"}, "replace"),
    ],
)
def test_what_to_do_about_a_machine(containers: list[Container], prepared: dict[str, str], verb: str) -> None:
    actions, surplus = decide(PODMAN, LAB, [WANTED], containers, prepared)
    assert [action.verb for action in actions] == [verb] and surplus == ()


def test_a_machine_nobody_wants_is_surplus() -> None:
    gone = found(name="gpu9")
    _, surplus = decide(PODMAN, LAB, [WANTED], [gone], {"id-1": "key"})
    assert surplus == (gone,)


@pytest.mark.parametrize(
    "other",
    [
        replace(WANTED, image="image:2"),
        replace(WANTED, public_key="ssh-ed25519 BBBB"),
        replace(WANTED, site_file="/y/site.yml"),
        replace(WANTED, machine=replace(GW1, address="10.90.0.12")),
        replace(WANTED, folder="/work/mirror", folder_token="t"),
    ],
)
def test_another_wish_is_another_digest(other: Wanted) -> None:
    assert asked(PODMAN, LAB, other) != asked(PODMAN, LAB, WANTED)


def test_other_limits_or_another_network_are_another_machine() -> None:
    assert asked(replace(PODMAN, ulimits=()), LAB, WANTED) != asked(PODMAN, LAB, WANTED)
    assert asked(PODMAN, replace(LAB, subnet=IPv4Network("10.91.0.0/24")), WANTED) != asked(PODMAN, LAB, WANTED)


def test_podman_runs_systemd_with_a_fixed_address_and_card() -> None:
    argv = run_argv(PODMAN, LAB, WANTED)
    assert argv[:2] == ["run", "-d"] and argv[-2:] == ["image:1", "/sbin/init"]
    for option in ("--privileged", "--systemd=always", "--ip=10.90.0.11", "--mac-address=02:d5:0a:5a:00:0b",
                   "--ulimit=nofile=20000:20000", "dsdeploy.lab=lab", "dsdeploy.machine=gw1"):  # fmt: skip
        assert option in argv
    assert not [word for word in argv if word.startswith("--volume")]


def test_docker_is_told_what_podman_knows_by_itself() -> None:
    docker = replace(PODMAN, name="docker")
    assert "--volume=/sys/fs/cgroup:/sys/fs/cgroup" in run_argv(docker, LAB, WANTED)
    argv = run_argv(replace(docker, cgroup2=True), LAB, WANTED)
    assert "--cgroupns=private" in argv and "--stop-signal=SIGRTMIN+3" in argv and "--systemd=always" not in argv


def test_each_machine_has_its_share_of_the_processors_and_a_router_may_be_real_time() -> None:
    shared = replace(PODMAN, realtime=True)
    router = replace(WANTED, machine=replace(GW1, weight=16, router=True))
    argv = run_argv(shared, LAB, router)
    assert {"--cpu-shares=16384", "--cgroup-parent=/", "--cpu-rt-period=50000", "--cpu-rt-runtime=5000"} <= set(argv)
    assert not [word for word in run_argv(shared, LAB, WANTED) if word.startswith("--cpu-rt")]
    assert not [word for word in run_argv(PODMAN, LAB, router) if word.startswith("--cpu-rt")]
    assert "--cgroup-parent=/" not in run_argv(replace(shared, cgroup2=True), LAB, router)


def test_the_mirror_sees_its_folder_read_only() -> None:
    argv = run_argv(PODMAN, LAB, replace(WANTED, machine=MIRROR, folder="/work/mirror"))
    assert "--volume=/work/mirror:/srv/mirror:ro" in argv


def test_a_card_is_locally_administered_and_one_for_each_address() -> None:
    assert mac("10.90.0.11") == "02:d5:0a:5a:00:0b"
    assert mac("10.90.0.11") != mac("10.90.1.11")


def test_containers_are_read_in_both_dialects() -> None:
    labels = {"dsdeploy.machine": "gw1", "dsdeploy.asked": "abc"}
    entry = {"Id": "i", "Name": "/dsdeploy-lab-gw1", "Config": {"Labels": labels}, "State": {"Status": "exited"}}
    (container,) = parse([entry])
    assert container == Container("i", "dsdeploy-lab-gw1", "gw1", "abc", "exited") and not container.running


@pytest.mark.parametrize(
    ("state", "word", "advice"),
    [
        ("exited 255", "systemd could not start", "inotify"),
        ("exited 127", "ended at once (exited 127)", "podman logs dsdeploy-lab-gw1"),
        ("running 0", "sshd did not start in it: no reason", "podman logs"),
    ],
)
def test_why_a_machine_did_not_boot(state: str, word: str, advice: str) -> None:
    error = boot_failure("podman", GW1, state, "no reason")
    assert word in error.what and advice in error.hint and error.where == "machine gw1"
