"""One site, two package managers: a Debian host and a dnf host get the same stack, keep it, move together, and serve.

The dnf host is a stand-in for Rocky Linux 9 (dnf_image says what it is not); repositories and GPUs are made here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from dsdeploy import output

from ..roles.stack.conftest import Key
from . import dnf_image, families, gpu_machine, gpu_world
from .conftest import PROMPT, why_not
from .families import Branches
from .gpu_lab import Gpus

TOOLS = [tool for tool in ("rpmbuild", "rpmsign", "createrepo_c", "modifyrepo_c") if not shutil.which(tool)]
pytestmark = [
    pytest.mark.lab,
    pytest.mark.own_lab,
    pytest.mark.skipif(bool(TOOLS), reason=f"missing here: {', '.join(TOOLS)} (apt install rpm createrepo-c)"),
]

NETWORK = "10.90.15."
URL = f"http://{NETWORK}10/stack/"
SITE = f"""
site: families
ssh: {{user: root, identity: id_ed25519, known_hosts: known_hosts}}
stack: {families.STACK}
packages: {{mirror: "{URL}"}}
hosts:
  deb: {{address: {NETWORK}11, roles: [engine, router, zookeeper]}}
  rocky: {{address: {NETWORK}12, roles: [engine]}}
host: {{transparent_hugepages: never, hugepages_2mb: 0}}
model: {{name: deepseek-tiny, version: v1, source: "http://{NETWORK}10/weights/deepseek-tiny/v1/"}}
engine: {{runtime: llamacpp, precision: q8_0}}
zookeeper: {{heap: 96MiB}}
health: {{interval: 1h}}
"""
COUNT = {"deb": 1, "rocky": 8}
SWITCHES = {"deb": 0, "rocky": 4}
QUERY = {
    "deb": "dpkg-query -W -f '${Package} ${Version}\\n'",
    "rocky": "rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE}\\n'",
}


class Families(Gpus):
    """The lab with its two hosts; `branches` are the drivers that their repositories have."""

    branches: Branches

    def packages(self, host: str) -> dict[str, str]:
        """Name -> version of what is installed."""
        lines = self.tell(host, QUERY[host]).splitlines()
        return dict(line.split() for line in lines if len(line.split()) == 2)

    def drivers(self, host: str) -> dict[str, str]:
        """The same of a driver's parts, by the driver's version."""
        found = {name: version.split("-")[0] for name, version in self.packages(host).items()}
        return {name: one for name, one in found.items() if ("nvidia" in name or "cuda-drivers" in name)
                and "pinning" not in name}  # fmt: skip

    def address(self, router: str) -> str:
        return NETWORK + "11"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Families]:
    """A bare machine of each family with GPUs on its bus; NVSwitches on the dnf host alone."""
    reason = why_not()
    if reason:
        pytest.skip(f"the lab cannot run here: {reason}")
    folder = tmp_path_factory.mktemp("families")
    made, key = Families(folder, COUNT), Key(folder / "gpg")
    gpu_world.product(folder / "product", key, *families.KEYS)
    made.site.write_text(SITE)
    made.run("lab", "down", "--site", str(made.site), code=None)
    made.run("lab", "up", "--site", str(made.site), "--image", f"rocky={dnf_image.make(output.step)}")
    plugin = made.tell("rocky", f"cat {dnf_image.SHELF}/versionlock.py").encode()
    mirror = folder / ".dsdeploy" / "families" / "mirror" / "stack"
    made.branches = families.offer(mirror, URL, key, folder, plugin)
    made.tell("rocky", families.release(URL))
    for host in COUNT:
        made.tell(host, gpu_machine.equip(COUNT[host], SWITCHES[host]))
        made.answer(host)
    yield made
    made.run("lab", "down", "--site", str(made.site))
    shutil.rmtree(folder, ignore_errors=True)


def has_stack(lab: Families, host: str, driver: str) -> None:
    """Every part of the driver is of this version, Fabric Manager is where switches are, and nothing else is there."""
    there, drivers = lab.packages(host), lab.drivers(host)
    fabric = bool(SWITCHES[host])
    assert set(drivers.values()) == {driver} and "nvidia-open" in drivers, drivers
    assert ("nvidia-fabricmanager" in drivers) is fabric
    assert "cuda-toolkit-13-0" in there and "libcudnn9-cuda-13" in there
    assert not {"cuda", "cuda-drivers"} & set(there) and not [name for name in there if "proprietary" in name]
    library = "readlink -f $(ldconfig -p | sed -n 's/.*libnvidia-ml.so.1 .*=> //p')"
    assert f"libnvidia-ml.so.{driver}" in lab.tell(host, library)
    assert "release 13.0" in lab.tell(host, "/usr/local/cuda-13.0/bin/nvcc --version")
    units = lab.tell(host, "systemctl is-enabled nvidia-persistenced nvidia-fabricmanager", check=False)
    assert units.split()[: 1 + fabric] == ["enabled"] * (1 + fabric)


def test_both_families_are_prepared_each_from_its_own_packages(lab: Families) -> None:
    assert lab.stage("prep")["changed"] > 0
    assert "chrony" in lab.packages("rocky") and "systemd-timesyncd" in lab.packages("deb")
    assert lab.tell("rocky", "systemctl is-enabled chronyd").strip() == "enabled"


def test_the_stack_takes_the_place_of_a_wrong_one_on_the_dnf_host_and_comes_to_the_other(lab: Families) -> None:
    lab.tell("rocky", families.wrong(URL))
    left = lab.drivers("rocky")
    assert "cuda-drivers" in left and lab.branches.now not in left.values() and len(set(left.values())) > 1, left
    assert lab.stage("stack")["changed"] > 0
    for host in COUNT:
        has_stack(lab, host, lab.branches.now)
    assert "libnccl" in lab.packages("rocky")  # NVIDIA has none for Debian 12
    sources = lab.tell("rocky", "cd /etc/yum.repos.d && ls").split()
    assert "cuda-rhel9.repo" not in sources and "cuda-rhel9.repo.disabled" in sources
    assert "stream=580-open" in lab.tell("rocky", "cat /etc/dnf/modules.d/nvidia-driver.module")
    assert lab.stage("stack")["changed"] == 0


def test_an_upgrade_by_hand_moves_nothing_and_without_the_lock_it_would(lab: Families) -> None:
    before = lab.packages("rocky")
    offered = lab.tell("rocky", "dnf -q --disableplugin=versionlock list --showduplicates nvidia-open")
    assert lab.branches.after in offered
    lab.tell("rocky", "dnf -y -q upgrade")
    assert lab.packages("rocky") == before
    loose = lab.tell("rocky", "dnf --assumeno --disableplugin=versionlock upgrade", check=False).split()
    assert {"nvidia-open", "nvidia-fabricmanager", "libcudnn9-cuda-13", "libnccl"} <= set(loose)
    assert "nvidia" not in lab.tell("deb", "apt-get -q -s dist-upgrade | grep ^Inst", check=False)


def test_the_next_branch_comes_in_order_and_is_kept(lab: Families) -> None:
    families.next_branch(lab.folder / "product", lab.branches)
    before = lab.boots()
    with lab.mains() as on:
        assert lab.stage("stack")["changed"] > 0
    now = lab.boots()
    # the module of the first branch was in memory: each host came back once, the one that is router and member behind
    assert on.starts == [lab.machine(host) for host in ("rocky", "deb")]
    assert all(now[host] != before[host] for host in COUNT)
    for host in COUNT:
        has_stack(lab, host, lab.branches.after)
        assert lab.loaded(host) == lab.branches.after
    # driver and Fabric Manager in one transaction: there was no moment with two versions
    query = "rpm -q --qf '%{INSTALLTID}\\n' nvidia-open nvidia-driver libnvidia-compute nvidia-fabricmanager"
    assert len(set(lab.tell("rocky", query).split())) == 1
    log = lab.tell("deb", "grep ' status installed ' /var/log/dpkg.log")
    pin, driver = "nvidia-driver-pinning-590:", f"nvidia-open:amd64 {lab.branches.after}"
    assert 0 < log.index(pin) < log.index(driver)
    before = lab.packages("rocky")
    lab.tell("rocky", "dnf -y -q upgrade")
    assert lab.packages("rocky") == before


def test_both_families_serve_through_the_router(lab: Families) -> None:
    lab.up()
    for host in COUNT:
        state, metrics = lab.look(host)  # the timer's hour is not waited for
        assert state["gpu_problems"] == [] and metrics['dsdeploy_gpus{state="answering"}'] == COUNT[host]
    status = lab.status()
    assert status["healthy"] is True and {name: host["problems"] for name, host in status["hosts"].items()} == {
        "deb": [], "rocky": []}  # fmt: skip
    assert lab.check(0)["problems"] == []
    asked = [lab.ask(body=PROMPT, router="deb") for _ in range(8)]
    assert {code for code, _, _ in asked} == {200}
    assert {headers["x-dsdeploy-engine"].rsplit("-", 1)[0] for _, headers, _ in asked} == set(COUNT)
    assert all(json.loads(body)["choices"][0]["message"]["content"] for _, _, body in asked)
    assert "0 changed" in lab.up().stderr  # of every stage, the next branch's too
