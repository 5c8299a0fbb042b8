"""Speaks for the HAProxy of this host. Root runs it; it prints one JSON object.

show              what runs: servers, states, open requests, releases
switch            moves hosts to a colour: --set gpu1=green [--release gpu1-green=R]; gpu1=none takes it out
park SERVER...    puts drained colours into maintenance; --cut ends what they still answer, and counts it
converge          makes the process equal to the files; reloads only if it must
save              keeps state and files as they run, for the next start

Orders carry --epoch, the number of the run that gives them: a host that has seen a higher one refuses.

Exit: 0 done, 1 refused or failed, 2 wrong words, 5 a health gate said no and nothing was switched, 6 overtaken.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import router_config as config
import router_runtime as runtime
import router_switch
from router_config import BACKEND, Paths, Refused

LOCK_S = 30.0


def show(paths: Paths) -> dict[str, Any]:
    """Names, states, open requests (old workers' included) and whether disk and process agree."""
    wanted = config.load(paths.config)
    about = runtime.info(paths.socket)
    found, old = runtime.servers(paths.socket), runtime.old_workers(paths.master)
    releases = runtime.releases(paths.socket, paths.releases)
    ready = frozenset(name for name, server in found.items() if server.state == "ready")
    return {
        "version": about.get("Version", ""),
        "pid": int(about.get("Pid", 0)),
        "structure": runtime.structure(paths.socket),
        "config_runs": runtime.structure(paths.socket) == wanted.structure,
        "persisted": ready == wanted.active and releases == config.read_releases(paths.releases),
        "active": {name.rpartition("-")[0]: name.rpartition("-")[2] for name in sorted(ready)},
        "old_workers": sorted(old),
        "servers": [
            {
                "name": name, "host": name.rpartition("-")[0], "colour": name.rpartition("-")[2],
                "address": server.address, "port": server.port, "state": server.state,
                "up": server.up, "check": server.check, "release": releases.get(name),
                "open": server.open + sum(table.get(name, 0) for table in old.values()),
            }
            for name, server in found.items()
        ],
    }  # fmt: skip


def park(paths: Paths, names: Sequence[str], cut: bool) -> dict[str, Any]:
    """Drained colours into maintenance. Open requests refuse it, or with `cut` are ended and counted."""
    seen = {server["name"]: server for server in show(paths)["servers"]}
    for name in names:
        if name not in seen:
            raise Refused(f"no server is called {name}; there are {', '.join(seen)}", 2)
        if seen[name]["state"] == "ready":
            raise Refused(f"{name} is in rotation; switch its host first")
        if seen[name]["open"] and not cut:
            raise Refused(f"{name} still answers {seen[name]['open']} requests; wait, or --cut")
    busy = [name for name in names if seen[name]["open"]]
    for name in busy:
        runtime.cut(paths.socket, paths.master, name)
    moving = [name for name in names if seen[name]["state"] != "maint"]
    if moving:
        runtime.order(paths.socket, [f"set server {BACKEND}/{name} state maint" for name in moving])
    return {"changed": bool(moving or busy), "did": [f"{name} is parked" for name in moving],
            "cut": sum(seen[name]["open"] for name in busy)}  # fmt: skip


@contextlib.contextmanager
def alone(paths: Paths) -> Iterator[None]:
    """One changing command at a time on a host."""
    with (paths.state / "lock").open("w") as file:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Refused("another router command has been running for 30 s") from None
                time.sleep(0.1)
        yield


def pairs(words: Sequence[str]) -> dict[str, str]:
    """["a=b"] -> {"a": "b"}."""
    if bad := [word for word in words if not all(word.partition("="))]:
        raise Refused(f"{bad[0]}: say NAME=VALUE", 2)
    return {word.partition("=")[0]: word.partition("=")[2] for word in words}


def fence(paths: Paths, epoch: int) -> None:
    """Refused, code 6, when this host has seen an order of a later run than the one numbered `epoch`."""
    try:
        seen, _, run = paths.epoch.read_text().strip().partition(" ")
    except FileNotFoundError:
        return
    if epoch and seen.isdecimal() and int(seen) > epoch:
        raise Refused(f"fenced: this host has seen epoch {seen} of run {run}; the order has {epoch}", 6)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = top.add_subparsers(dest="verb", required=True)
    verbs.add_parser("show").add_argument("--json", action="store_true", help="the answer is JSON anyway")
    save = verbs.add_parser("save")
    converge = verbs.add_parser("converge")
    switch = verbs.add_parser("switch")
    for verb in (converge, switch):
        verb.add_argument("--wait", type=float, default=10.0, metavar="SECONDS", help="for a passed check")
    switch.add_argument("--set", action="extend", nargs="+", required=True, metavar="HOST=COLOUR")
    switch.add_argument("--release", action="extend", nargs="*", default=[], metavar="SERVER=RELEASE")
    parking = verbs.add_parser("park")
    parking.add_argument("names", nargs="+", metavar="SERVER")
    parking.add_argument("--cut", action="store_true", help="end open requests; they are counted")
    for verb in (save, converge, switch, parking):
        verb.add_argument("--epoch", type=int, default=0, help="number of the run that gives the order")
    return top


def run(args: argparse.Namespace, paths: Paths) -> dict[str, Any]:
    if args.verb == "show":
        return show(paths)
    with alone(paths):
        fence(paths, args.epoch)
        if args.verb == "park":
            return park(paths, args.names, args.cut)
        did: list[str] = []
        if args.verb == "converge":
            did = router_switch.converge(paths, args.wait)
        elif args.verb == "switch":
            did = router_switch.switch(paths, pairs(args.set), pairs(args.release), args.wait)
        else:
            router_switch.save(paths, config.load(paths.config))
        return {"changed": bool(did), "did": did}


def main(argv: Sequence[str], paths: Paths) -> int:
    try:
        answer, code = run(parser().parse_args(argv), paths), 0
    except Refused as refusal:
        answer, code = {"failed": str(refusal)}, refusal.code
    except OSError as error:
        answer, code = {"failed": f"{error.filename or 'host'}: {error.strerror}"}, 1
    json.dump(answer, sys.stdout)
    sys.stdout.write("\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Paths()))
