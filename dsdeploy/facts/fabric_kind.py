"""Hardware told from soft RDMA devices, which show state Active and rate 100 like a real port.

rdma_rxe and siw make an RDMA device of any network card. Older kernels hang it under that card's own PCI
device, so that bus and driver alone prove nothing: a ConnectX in Ethernet mode may have both mlx5_0 and
rxe0 below it. What only one side has decides (kernel: drivers/infiniband/sw/rxe/rxe_verbs.c, siw_main.c):
the attribute `parent` and the fixed node descriptions are soft; hca_type and board_id come from the
drivers of hardware alone. Whatever proves nothing counts as soft.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_BUSES = frozenset({"pci", "auxiliary", "platform", "vmbus"})
_SOFT_NAME = re.compile(r"(rxe|siw)(_.*|\d*)")
# drivers of hardware that shows neither hca_type nor board_id
_WITHOUT_TYPE = frozenset({"efa", "erdma", "ionic", "hns3", "hns_roce_hw_v2", "qedr", "hfi1"})


def hardware(name: str, told: Mapping[str, str]) -> bool:
    """Whether a device of this name, with what sysfs tells of it, is made of hardware. Proof is wanted.

    `told` has path, bus, driver (of the device below it), parent, node_desc, hca_type, board_id as far as
    they are there.
    """
    if "parent" in told or told.get("path", "").startswith("/sys/devices/virtual/"):
        return False
    if _SOFT_NAME.fullmatch(name):
        return False
    if told.get("node_desc", "") == "rxe" or told.get("node_desc", "").startswith("Software iWARP"):
        return False
    if told.get("bus", "") not in _BUSES:
        return False
    return bool(told.get("hca_type") or told.get("board_id")) or told.get("driver", "") in _WITHOUT_TYPE
