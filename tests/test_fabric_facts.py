"""The fabric's facts beyond captured output: the shell that reads sysfs, and what tells hardware from soft devices."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from dsdeploy import facts
from dsdeploy.facts import fabric_kind

CONNECTX = {
    "path": "/sys/devices/pci0000:15/0000:18:00.0/infiniband/mlx5_0", "bus": "pci", "driver": "mlx5_core",
    "node_type": "1: CA", "hca_type": "MT4129", "board_id": "MT_0000000838",
}  # fmt: skip


def without(*keys: str, **more: str) -> dict[str, str]:
    return {key: value for key, value in CONNECTX.items() if key not in keys} | more


@pytest.mark.parametrize(
    ("name", "told", "real"),
    [
        ("mlx5_0", CONNECTX, True),
        ("mlx5_0", without("board_id"), True),  # hca_type alone
        ("ibp24s0", without("hca_type"), True),  # renamed by udev, board_id alone
        ("rdmap16s27", without("hca_type", "board_id", driver="efa"), True),
        ("mlx5_0", {}, False),  # nothing is known: nothing is proven
        ("mlx5_0", without("hca_type", "board_id"), False),  # soft, below a ConnectX, with a ConnectX's name
        ("mlx5_0", CONNECTX | {"parent": "eth0"}, False),
        ("mlx5_0", CONNECTX | {"path": "/sys/devices/virtual/infiniband/mlx5_0"}, False),
        ("mlx5_0", CONNECTX | {"node_desc": "rxe"}, False),
        ("mlx5_0", CONNECTX | {"node_desc": "Software iWARP stack"}, False),
        ("mlx5_0", without("bus"), False),
        ("rxe0", CONNECTX, False),
        ("rxe_eth0", CONNECTX, False),
        ("siw0", CONNECTX, False),
        ("siw_eth0", CONNECTX, False),
    ],
)
def test_only_what_is_proven_to_be_hardware_counts_as_hardware(name: str, told: dict[str, str], real: bool) -> None:
    assert fabric_kind.hardware(name, told) is real


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def sysfs(root: Path) -> None:
    """A ConnectX-7 with one RoCE port, and rxe made of the same card: the second as older kernels hang it."""
    card = root / "devices/pci0000:15/0000:18:00.0"
    for name in ("bus/pci", "bus/pci/drivers/mlx5_core", "class/infiniband", "module/ib_umad"):
        (root / name).mkdir(parents=True)
    card.mkdir(parents=True)
    (card / "subsystem").symlink_to(root / "bus/pci")
    (card / "driver").symlink_to(root / "bus/pci/drivers/mlx5_core")
    write(card / "vendor", "0x15b3")
    write(card / "device", "0x1021")
    for name, own in (("mlx5_0", {"hca_type": "MT4129", "board_id": "MT_1"}), ("rxe0", {"parent": "eth0"})):
        device = card / "infiniband" / name
        for key, value in own.items():
            write(device / key, value)
        (device / "device").symlink_to(card)
        (root / "class/infiniband" / name).symlink_to(device)
        port = device / "ports/1"
        for key, value in (("state", "4: ACTIVE"), ("phys_state", "5: LinkUp"), ("link_layer", "Ethernet")):
            write(port / key, value)
        write(port / "rate", "400 Gb/sec (4X NDR)" if name == "mlx5_0" else "100 Gb/sec (4X EDR)")
        write(port / "counters/symbol_error", "7")
        write(port / "gids/0", "0000:0000:0000:0000:0000:0000:0000:0000")
        write(port / "gids/3", "0000:0000:0000:0000:0000:ffff:0a08:0015")
        write(port / "gid_attrs/types/3", "RoCE v2")
        write(port / "gid_attrs/ndevs/3", "enp24s0np0")


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_the_command_reads_a_sysfs(shell: str, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    sysfs(tmp_path)
    fact = facts.reader(facts.Fabric)
    command = fact.command().replace("/sys/", f"{tmp_path}/")
    done = subprocess.run([shell, "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    found = fact.process(done.stdout.splitlines())
    assert [(device.name, device.hardware) for device in found.devices] == [("mlx5_0", True), ("rxe0", False)]
    assert (found.devices[0].pci, found.devices[0].driver) == ("15b3:1021", "mlx5_core")
    port = found.devices[0].ports[0]
    assert (port.rate, port.link, port.up, port.counters) == (400.0, "ethernet", True, {"symbol_error": 7})
    assert port.gids == (facts.Gid(3, "0000:0000:0000:0000:0000:ffff:0a08:0015", "RoCE v2", "enp24s0np0", "10.8.0.21"),)
    assert found.modules == ("ib_umad",)


@pytest.mark.parametrize("name", ["rxe-rate-100", "rxe-over-connectx", "siw-over-ixgbe"])
def test_a_soft_device_is_active_at_rate_100_and_is_not_taken(name: str) -> None:
    told = json.loads((Path(__file__).parent / "facts" / "Fabric" / f"{name}.json").read_text(encoding="utf-8"))
    found = facts.reader(facts.Fabric).process(told["output"])
    assert found.devices and found.devices[0].ports[0].up
    assert found.hardware == ()


@pytest.mark.parametrize(
    ("device", "gpu"), [("mlx5_0", 0), ("mlx5_4", 3), ("mlx5_5", 4), ("mlx5_bond_0", 0), ("mlx5_99", None)]
)
def test_the_nearest_gpu_of_a_device(device: str, gpu: int | None) -> None:
    case = Path(__file__).parent / "facts" / "GpuTopology" / "h100-9-nics.json"
    found = facts.reader(facts.GpuTopology).process(json.loads(case.read_text(encoding="utf-8"))["output"])
    assert found.nearest(device) == gpu
