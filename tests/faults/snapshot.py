"""All that a run leaves, on hosts and in ZooKeeper, in a form in which two runs can be compared."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient

from dsdeploy import ssh
from dsdeploy.lab import access
from dsdeploy.site import Site

PROGRAM = (Path(__file__).parent / "host.py").read_text(encoding="utf-8")
SHOWN = 6  # differences that a row names, at most
Snapshot = Mapping[str, Any]


def take(site: Site) -> dict[str, Any]:
    """{"hosts": {name: what host.py prints}, "zookeeper": {path: text}, "locked": whether the lock's node is there}."""
    with ThreadPoolExecutor(len(site.hosts)) as pool:
        seen = list(pool.map(lambda name: _host(site, name), site.hosts))
    tree = _tree(site)
    lock = tree.pop(f"/dsdeploy/{site.site}/lock", None)
    tree.pop(f"/dsdeploy/{site.site}/epoch", None)
    return {"hosts": dict(zip(site.hosts, seen, strict=True)), "zookeeper": tree, "locked": lock is not None}


def differences(before: Snapshot, now: Snapshot, beside: str = "") -> list[str]:
    """What is not as in the reference, each as one line. What begins with `beside` ("HOST PATH") may differ."""
    found = []
    for host, wanted in before["hosts"].items():
        seen = now["hosts"][host]
        for part in ("files", "units"):
            unlike = [f"{host} {text}" for text in _unlike(wanted[part], seen[part])]
            found += [text for text in unlike if not _is(text, beside)]
        if wanted["listeners"] != seen["listeners"]:
            found.append(f"{host} listens on {_changed(wanted['listeners'], seen['listeners'])}")
        if seen["plays"]:
            found.append(f"{host} still runs {seen['plays'][0]}")
    found += [f"ZooKeeper {text}" for text in _unlike(before["zookeeper"], now["zookeeper"])]
    if now["locked"]:
        found.append("the lock is held")
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return [*found[:SHOWN], *more]


def _is(text: str, beside: str) -> bool:
    return bool(beside) and text.startswith(beside)


def _unlike(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f"{name}: {before.get(name, 'absent')} -> {now.get(name, 'absent')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _changed(before: list[str], now: list[str]) -> str:
    return ", ".join([f"+{a}" for a in now if a not in before] + [f"-{a}" for a in before if a not in now])


def _host(site: Site, name: str) -> Any:
    argv = access.ssh_argv(site, name, ["python3", "-"])
    done = subprocess.run(argv, input=PROGRAM, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} cannot be looked at: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def _tree(site: Site) -> dict[str, str]:
    """Every node but ZooKeeper's own, through one member."""
    found: dict[str, str] = {}
    with ssh.tunnels(site, [site.members[0].host], site.zookeeper.client_port) as tunnels:
        client = KazooClient(hosts=f"127.0.0.1:{tunnels.ports[0]}", timeout=20.0)
        client.start(timeout=20)
        try:
            client.sync("/")
            _walk(client, "/", found)
        finally:
            client.stop()
            client.close()
    return found


def _walk(client: KazooClient, path: str, found: dict[str, str]) -> None:
    for name in client.get_children(path):
        below = f"{path.rstrip('/')}/{name}"
        if below == "/zookeeper":
            continue
        data, _ = client.get(below)
        found[below] = _text(below, (data or b"").decode(errors="replace"))
        _walk(client, below, found)


def _text(path: str, text: str) -> str:
    """Without what is another one in each run."""
    if not path.endswith("/release"):
        return text
    return json.dumps({key: value for key, value in json.loads(text).items() if key not in ("run", "at")})
