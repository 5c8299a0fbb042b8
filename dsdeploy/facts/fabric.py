"""RDMA devices as the kernel shows them in sysfs, and the network interfaces beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import fabric_host, fabric_kind
from dsdeploy.facts.blocks import blocks
from dsdeploy.facts.fabric_port import Gid, Port, port
from dsdeploy.facts.fact import Fact, number

if TYPE_CHECKING:
    from dsdeploy.site import Site

__all__ = ["Device", "Fabric", "FabricFact", "Gid", "Port"]

MODULES = ("ib_umad", "ib_ipoib", "ib_uverbs", "rdma_ucm", "rdma_rxe", "siw", "nvidia_peermem", "nv_peer_mem", "nvidia")


@dataclass(frozen=True)
class Device:
    """One RDMA device. `hardware` is false for what a kernel module only makes of a network card (rxe, siw)."""

    name: str
    hardware: bool
    driver: str = ""
    pci: str = ""  # vendor:device in hex
    kind: str = ""  # hca_type: MT4129
    board: str = ""
    firmware: str = ""
    numa: int | None = None
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True)
class Fabric:
    """`addresses` is interface -> its addresses. `read` is false where the kernel has no RDMA at all."""

    read: bool
    devices: tuple[Device, ...] = ()
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    @property
    def hardware(self) -> tuple[Device, ...]:
        return tuple(device for device in self.devices if device.hardware)


class FabricFact(Fact[Fabric]):
    """Asked of the engine hosts of a site with a fabric; all others cost nothing."""

    value = Fabric

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return fabric_host.arguments(site, host)

    def command(self) -> str:
        return _COMMAND

    def process(self, output: list[str]) -> Fabric:
        addresses: dict[str, tuple[str, ...]] = {}
        for line in output:
            words = line.split()
            if len(words) == 3 and words[0] == "address":
                addresses[words[1]] = (*addresses.get(words[1], ()), words[2].split("/")[0])
        modules = tuple(line[7:] for line in output if line.startswith("module ") and line[7:] in MODULES)
        _, devices = blocks(output, lambda line: line.startswith("device "))
        return Fabric("class" in output, tuple(_device(block) for block in devices), addresses, modules)


def _device(lines: list[str]) -> Device:
    own, ports = blocks(lines[1:], lambda line: line.startswith("port "))
    name = lines[0][7:].strip()
    told = {key: value.strip() for key, blank, value in (line.partition(" ") for line in own) if blank}
    ids = (told.get("vendor", "").removeprefix("0x"), told.get("device_id", "").removeprefix("0x"))
    return Device(
        name=name,
        hardware=fabric_kind.hardware(name, told),
        driver=told.get("driver", ""),
        pci=":".join(ids) if all(ids) else "",
        kind=told.get("hca_type", ""),
        board=told.get("board_id", ""),
        firmware=told.get("fw_ver", ""),
        numa=number(told.get("numa_node", "")),
        ports=tuple(port(block) for block in ports),
    )


_COUNTERS = (
    "symbol_error link_error_recovery link_downed port_rcv_errors port_xmit_discards "
    "local_link_integrity_errors excessive_buffer_overrun_errors VL15_dropped"
)
_HARDWARE_COUNTERS = "out_of_sequence local_ack_timeout_err packet_seq_err"
# the kernel refuses to read the counters and GIDs a port does not have: such a line is left out
_COMMAND = f"""
say() {{ {{ read -r said < "$2"; }} 2>/dev/null && [ -n "$said" ] && echo "$1 $said"; }}
[ -d /sys/class/infiniband ] && echo class
for d in /sys/class/infiniband/*; do
  [ -e "$d" ] || continue
  echo "device ${{d##*/}}"
  echo "path $(readlink -f "$d")"
  [ -e "$d/device/subsystem" ] && echo "bus $(basename "$(readlink -f "$d/device/subsystem")")"
  [ -e "$d/device/driver" ] && echo "driver $(basename "$(readlink -f "$d/device/driver")")"
  for f in parent node_type node_desc hca_type hw_rev board_id fw_ver; do say "$f" "$d/$f"; done
  for f in vendor numa_node; do say "$f" "$d/device/$f"; done
  say device_id "$d/device/device"
  for p in "$d"/ports/*; do
    [ -d "$p" ] || continue
    echo "port ${{p##*/}}"
    for f in state phys_state rate link_layer lid sm_lid; do say "$f" "$p/$f"; done
    for f in {_COUNTERS}; do say "counter $f" "$p/counters/$f"; done
    for f in {_HARDWARE_COUNTERS}; do say "counter $f" "$p/hw_counters/$f"; done
    for g in "$p"/gids/*; do
      {{ read -r gid < "$g"; }} 2>/dev/null || continue
      case $gid in *[1-9a-f]*) ;; *) continue ;; esac
      type=; ndev=; i=${{g##*/}}
      {{ read -r type < "$p/gid_attrs/types/$i"; }} 2>/dev/null
      {{ read -r ndev < "$p/gid_attrs/ndevs/$i"; }} 2>/dev/null
      echo "gid $i $gid ${{ndev:--}} $type"
    done
  done
done
for m in {" ".join(MODULES)}; do [ -d "/sys/module/$m" ] && echo "module $m"; done
ip -o addr show 2>/dev/null | while read -r number name family address rest; do
  case $family in inet|inet6) echo "address ${{name%%@*}} $address" ;; esac
done
"""
