"""May this host stop its engine now? Asked of the ensemble (a slot) and of the other engines (who serves).

    /dsdeploy/<site>/out/<n>    n below engines - min_serving: a host that may restart its engine, or has taken it out

A slot is made by one atomic create, so no more hosts than there are slots ever act at a time, whoever they are and
however often they look. It is persistent: a host that dies with it keeps it, and does not serve. It is given back by
the host when its engine answers again.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, NamedTuple

import health_zk as zk

TIMEOUT_S = 5.0
Config = Dict[str, Any]


class Refused(Exception):
    """Why not, for the operator."""


class Slot(NamedTuple):
    path: str
    host: str


def take(config: Config, why: str, serves: Callable[[Dict[str, Any]], bool]) -> str:
    """The slot's path, ours from now on. Raises Refused; then this host holds none that it did not hold before."""
    host, wanted = config["host"], int(config["min_serving"])
    names = {peer["host"] for peer in config["peers"]} | {host}
    room = len(names) - wanted
    if room <= 0:
        raise Refused(f"min_serving is {wanted} of {len(names)} engine hosts: none may leave")
    try:
        with zk.Client(config["zookeeper"], TIMEOUT_S) as client:
            slots = _paths(client, config["site"], room)
            ours = any(one.host == host for one in _held(client, slots))
            path = _claim(client, slots, host, names, why)
            held = {one.host for one in _held(client, slots)}
            serving = _serving([one for one in config["peers"] if one["host"] not in held], serves)
            if len(serving) < wanted:
                if not ours:
                    _give(client, path, host)
                others = ", ".join(serving) or "none"
                raise Refused(
                    f"only {len(serving)} other engines are seen to serve ({others}), min_serving is {wanted}"
                )
            return path
    except zk.Trouble as trouble:
        raise Refused(f"the ensemble gives no permission: {trouble}") from trouble


def locked(config: Config) -> bool:
    """Whether some run holds the site's lock now. Raises zk.Trouble."""
    with zk.Client(config["zookeeper"], TIMEOUT_S) as client:
        return client.read(f"/dsdeploy/{config['site']}/lock") is not None


def _serving(peers: List[Dict[str, Any]], serves: Callable[[Dict[str, Any]], bool]) -> List[str]:
    with ThreadPoolExecutor(16) as pool:
        return [peer["host"] for peer, answer in zip(peers, pool.map(serves, peers)) if answer]


def give_back(config: Config) -> None:
    """Every slot of this host. Raises zk.Trouble."""
    with zk.Client(config["zookeeper"], TIMEOUT_S) as client:
        for path in _paths(client, config["site"], len(config["peers"]) + 1):
            _give(client, path, config["host"])


def _paths(client: zk.Client, site: str, room: int) -> List[str]:
    top = ""
    for part in ("dsdeploy", site, "out"):
        top = f"{top}/{part}"
        client.create(top, b"")
    return [f"{top}/{number}" for number in range(room)]


def _claim(client: zk.Client, slots: List[str], host: str, names: "set[str]", why: str) -> str:
    data = json.dumps({"host": host, "at": round(time.time(), 3), "why": why[:300]}).encode()
    holders = _held(client, slots)
    for one in holders:
        if one.host == host:
            return one.path
    for path in slots:
        if client.create(path, data):
            return path
        found = client.read(path)
        if found and _host(found[0]) not in names and client.delete(path, found[1]) and client.create(path, data):
            return path  # it was held by a host that the site has no more
    who = ", ".join(sorted({one.host for one in _held(client, slots)}))
    raise Refused(f"{len(slots)} of {len(slots)} that may be out at a time are out: {who}")


def _held(client: zk.Client, slots: List[str]) -> List[Slot]:
    found = ((path, client.read(path)) for path in slots)
    return [Slot(path, _host(node[0])) for path, node in found if node]


def _give(client: zk.Client, path: str, host: str) -> None:
    found = client.read(path)
    if found and _host(found[0]) == host:
        client.delete(path, found[1])


def _host(data: bytes) -> str:
    try:
        return str(json.loads(data)["host"])
    except (ValueError, KeyError, TypeError):
        return ""
