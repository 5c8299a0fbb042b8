"""A ZooKeeper member's own figures, from `mntr`.

ZooKeeper's metrics provider for Prometheus is not in the distributions' packages, and would be a port and a restart
of every member. `mntr` is whitelisted already and has the same figures. Python >= 3.8, standard library only.
"""

from __future__ import annotations

import re
import socket
from typing import Dict, Iterator, Tuple

Sample = Tuple[str, Dict[str, str], float]
SERVES = ("leader", "follower", "standalone")
KEPT = (
    "zk_uptime", "zk_outstanding_requests", "zk_num_alive_connections", "zk_znode_count", "zk_approximate_data_size",
    "zk_open_file_descriptor_count", "zk_synced_followers", "zk_quorum_size", "zk_watch_count", "zk_ephemerals_count",
)  # fmt: skip


def ask(host: str, port: int, word: bytes, timeout: float = 5.0) -> str:
    """What the member answers; "" when it does not."""
    try:
        with socket.create_connection((host, port), timeout) as link:
            link.sendall(word)
            return b"".join(iter(lambda: link.recv(65536), b"")).decode("utf-8", "replace")
    except OSError:
        return ""


def samples(answer: str) -> Iterator[Sample]:
    """Silence and refusal count as not serving: then nothing else is said."""
    found = dict(re.findall(r"(?m)^(zk_\w+)\t(.+)$", answer))
    mode = found.get("zk_server_state", "")
    yield "dsdeploy_zookeeper_serving", {}, float(mode in SERVES)
    yield "dsdeploy_zookeeper_leader", {}, float(mode in ("leader", "standalone"))
    for name in KEPT if mode in SERVES else ():
        try:
            yield name, {}, float(found[name])
        except (KeyError, ValueError):
            continue
