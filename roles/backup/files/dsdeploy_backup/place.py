"""What a restore in place exchanges, which services it stops for that, and the way back when a disk says no."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from .config import Config
from .errors import Trouble
from .exchange import Exchange, beside, discard, exchange, same, swap, undo
from .stage import SETS, sets


class Pair(NamedTuple):
    """`found` comes into the place of `live`, with the owner of the folder `like`."""

    found: Path
    live: Path
    like: Path


class Plan(NamedTuple):
    """What differs, and what runs on it; `members` of that are ZooKeeper's. `starts` is what --start starts, and
    `kept` says what stays as it is, and why."""

    pairs: List[Pair]
    services: List[str]
    members: List[str]
    starts: List[str]
    kept: List[str]

    def after(self, ran: Sequence[str], start: bool, always: bool) -> List[str]:
        """What is to run again: all that ran, without `start` no member, with `always` also what did not run."""
        again = [unit for unit in ran if start or unit not in self.members]
        return list(dict.fromkeys([*again, *(self.starts if always else [])]))


def plan(config: Config, scratch: Path, document: Dict[str, Any], names: Sequence[str], asked: Sequence[str]) -> Plan:
    """Compare what was restored in `scratch` with what is live. `asked` are the sets that the operator named. A set's
    rules are those of its snapshot and those of this host: older snapshots do not have them all."""
    here = _rules(config)
    found = Plan([], [], [], [], [])
    for name in names:
        parts = (document["sets"][name], here.get(name, {}))
        careful = name not in asked and any(part.get("by_name") for part in parts)
        higher = [path for part in parts for path in part.get("higher", [])]
        services = [unit for part in parts for unit in part.get("services", [])]
        pairs, there = [], 0
        for pair in _pairs(scratch / SETS / name, document["sets"][name]):
            if str(pair.live) in higher and _number(pair.found) < _number(pair.live):
                found.kept.append(f"{pair.live} stays: it says a higher number than the snapshot")
            elif not same(pair.found, pair.live):
                if careful and os.path.lexists(str(pair.live)):
                    there += 1
                else:
                    pairs.append(pair)
        if there:
            found.kept.append(f"{name}: {there} files stay as they are here; --what {name} puts the snapshot's there")
        found.pairs.extend(pairs)
        found.services.extend(unit for unit in services if pairs and unit not in found.services)
        found.members.extend(unit for unit in services if "zookeeper" in parts[0])
        found.starts.extend(unit for unit in services if not careful and unit not in found.starts)
    return found


def _rules(config: Config) -> Dict[str, Dict[str, Any]]:
    try:
        return {one["name"]: one for one in sets(config.sets)}
    except Trouble:  # a list that cannot be read stops a backup, and must not stop a restore
        return {}


def _pairs(place: Path, part: Dict[str, Any]) -> Iterator[Pair]:
    """Files one by one; of a ZooKeeper member what is in its folders, as each of them may be a disk of its own."""
    member = part.get("zookeeper", {})
    roots = dict.fromkeys(str(member[key]) for key in ("data", "log")) if member.get("data") else {}
    for root in roots or sorted(part["files"]):
        found, live = place / root.lstrip("/"), Path(root)
        if not os.path.lexists(str(found)):
            continue
        if roots and live.is_dir():
            for child in sorted(found.iterdir()):
                yield Pair(child, live / child.name, live)
        else:
            yield Pair(found, live, live)


def _number(path: Path) -> int:
    """The number a file begins with; -1 where there is none."""
    try:
        return int(path.read_text(encoding="ascii", errors="replace").split()[0])
    except (OSError, ValueError, IndexError):
        return -1


def running(services: Sequence[str]) -> List[str]:
    """Those of them that run now."""
    return [unit for unit in services if _systemctl("is-active", "--quiet", unit) == 0]


def start(config: Config, name: str) -> Dict[str, Any]:
    """Start what runs on a set's files. Raises Trouble."""
    found = next((one for one in sets(config.sets) if one["name"] == name), None)
    if found is None:
        raise Trouble(f"no set {name} on this host", str(config.sets))
    return {"ok": True, "host": config.host, "messages": _started(found.get("services", []))}


def in_place(wanted: Plan, services: Sequence[str], after: Sequence[str], identity: str) -> List[str]:
    """Stop `services`, exchange the files, start `after`. What was done, a line each.

    Raises OSError before anything was stopped, and Trouble afterwards: then the exchanges were taken back and
    `services` run again, or the words say which not.
    """
    ready: List[Tuple[Path, Path]] = []
    try:
        for pair in wanted.pairs:
            ready.append((beside(*pair), pair.live))
    except OSError:
        discard([new for new, _ in ready])
        raise
    done: List[Exchange] = []
    stopped: List[str] = []
    try:
        for unit in services:
            stopped.append(unit)
            if _systemctl("stop", unit) != 0:
                raise Trouble(f"{unit} cannot be stopped", unit, f"systemctl status {unit}")
        for new, live in ready:
            done.append(exchange(new, live, f".before-{identity[:8]}"))
            swap(done[-1])
    except (Trouble, OSError) as error:
        why, where, hint = (
            (error.what, error.where, error.hint) if isinstance(error, Trouble)
            else (f"{error.filename} cannot be exchanged: {error.strerror}", str(error.filename), "findmnt; df -h")
        )  # fmt: skip
        raise Trouble(f"{why}; {_taken_back(done, ready, stopped)}", where, hint) from error
    return wanted.kept + [one.said() for one in done] + _started(after)


def _taken_back(done: Sequence[Exchange], ready: Sequence[Tuple[Path, Path]], stopped: Sequence[str]) -> str:
    """Everything as it was before, as far as that can be had; a sentence about it."""
    left = undo(done)
    if left:
        beside_ = ", ".join(str(one.old) for one in done if one.live in left and one.old)
        return (f"{', '.join(map(str, left))} could not be taken back, what was there is {beside_ or 'nothing'};"
                f" not started: {', '.join(stopped) or 'nothing'}")  # fmt: skip
    discard([new for new, _ in ready])
    again = [unit for unit in stopped if _systemctl("start", unit) == 0]
    dead = [unit for unit in stopped if unit not in again]
    return "; ".join([
        "what was exchanged was taken back, nothing is changed" if done else "nothing was changed",
        *([f"{', '.join(again)} started again"] if again else []),
        *([f"{', '.join(dead)} did not start again: journalctl -u {dead[0]}"] if dead else []),
    ])  # fmt: skip


def _started(names: Sequence[str]) -> List[str]:
    for unit in names:
        _systemctl("reset-failed", unit)
        if _systemctl("start", unit) != 0:
            raise Trouble(f"{unit} does not start", unit, f"journalctl -u {unit}; what was there is kept beside")
    return [f"{unit} started" for unit in names]


def _systemctl(*words: str) -> int:
    try:
        return subprocess.run(["systemctl", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False, timeout=180).returncode  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return 255
