"""Whether a lab can run here, and with which settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dsdeploy.lab.podman import failure, prepare, settings
from dsdeploy.lab.probe import Probe, limits, refusal, runtime

FIT = Probe(
    engine="podman", root=True, programs=frozenset({"podman", "runc", "crun", "mmdebstrap", "ssh-keygen", "ip"}),
    namespaces=True, cgroup2=True, realtime=True, netavark=True, nofile=20000,
    nproc=96365, nr_open=1048576, pid_max=32768,
)  # fmt: skip


def without(*programs: str) -> Probe:
    return replace(FIT, programs=FIT.programs - set(programs))


def test_a_fit_computer_is_not_refused() -> None:
    assert refusal(FIT) is None


@pytest.mark.parametrize(
    ("probe", "word", "advice"),
    [
        (replace(FIT, root=False), "root", "sudo"),
        (without("podman"), "podman is not installed", "make setup"),
        (without("runc", "crun"), "runc or crun", "apt install runc"),
        (replace(without("runc"), cgroup2=False), "the only runtime", "apt install runc"),
        (without("ssh-keygen"), "ssh-keygen", "openssh-client"),
        (without("ip"), "ip is not installed", "iproute2"),
        (replace(FIT, namespaces=False), "namespaces", "privileged"),
        (without("mmdebstrap"), "mmdebstrap", "--image"),
        (replace(FIT, engine="docker"), "docker is not installed", "make setup"),
    ],
)
def test_one_cause_and_what_to_do(probe: Probe, word: str, advice: str) -> None:
    error = refusal(probe)
    assert error is not None
    assert word in error.what and advice in error.hint and error.where


def test_an_image_of_ones_own_needs_no_mmdebstrap() -> None:
    assert refusal(without("mmdebstrap"), builds=False) is None


def test_docker_needs_neither_root_nor_a_runtime() -> None:
    probe = replace(without("podman", "runc", "crun"), engine="docker", root=False)
    assert refusal(replace(probe, programs=probe.programs | {"docker"})) is None


def test_only_runc_knows_hybrid_cgroups() -> None:
    assert runtime(replace(without("runc"), cgroup2=False)) == ""
    assert runtime(without("runc")) == "crun"
    assert runtime(replace(FIT, cgroup2=False)) == "runc"


def test_limits_never_exceed_what_the_kernel_gives() -> None:
    assert limits(FIT) == {"nofile": 20000, "nproc": 32768}
    assert limits(replace(FIT, nofile=-1, nproc=-1)) == {"nofile": 1048576, "nproc": 32768}


def test_settings_are_podmans_own_and_written_once(tmp_path: Path) -> None:
    conf = tmp_path / "containers.conf"
    conf.write_text("old")
    podman = prepare(FIT, tmp_path)
    assert podman.own_env() == {"CONTAINERS_CONF": str(conf)}
    assert 'runtime="runc"' in conf.read_text() and "netavark" in conf.read_text()
    written = conf.stat().st_mtime_ns
    prepare(FIT, tmp_path)
    assert conf.stat().st_mtime_ns == written
    assert "netavark" not in settings("crun", netavark=False)
    assert prepare(replace(FIT, engine="docker"), tmp_path).own_env() == {}


def test_the_last_line_is_the_cause() -> None:
    error = failure("podman", ["run", "-d"], "level=warning msg=x\nError: writing blob: no space left on device\n")
    assert error.what == "podman run failed: writing blob: no space left on device"
    assert "disk" in error.hint
    assert failure("podman", ["start"], "").what.endswith("did not say why")
