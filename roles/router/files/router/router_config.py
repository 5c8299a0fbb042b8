"""haproxy.cfg and releases.map as this role writes them: what they say, and changed safely on disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

BACKEND = "engines"
COLOURS = ("blue", "green")
_DESCRIPTION = re.compile(r"^\s+description dsdeploy ([0-9a-f]{64})$", re.MULTILINE)
_SERVER = re.compile(
    r"^(?P<head>    server (?P<name>\S+-(?:blue|green)) (?P<endpoint>\S+))(?P<off> disabled)?$", re.MULTILINE
)


class Refused(Exception):
    """The wish cannot or must not be carried out; what served goes on. `code` is the exit code."""

    def __init__(self, what: str, code: int = 1) -> None:
        super().__init__(what)
        self.code = code


@dataclass(frozen=True)
class Paths:
    """Where everything is on a router host; tests give others."""

    config: Path = Path("/etc/haproxy/haproxy.cfg")
    releases: Path = Path("/etc/haproxy/dsdeploy/releases.map")
    state: Path = Path("/var/lib/dsdeploy/router")
    socket: Path = Path("/run/haproxy/dsdeploy.sock")
    master: Path = Path("/run/haproxy-master.sock")
    epoch: Path = Path("/var/lib/dsdeploy/epoch")

    @property
    def good_config(self) -> Path:
        """The last configuration seen running."""
        return self.state / "haproxy.cfg.good"

    @property
    def good_releases(self) -> Path:
        return self.state / "releases.map.good"


@dataclass(frozen=True)
class Entry:
    """One server line: `endpoint` is address:port as written, `active` means not `disabled`."""

    endpoint: str
    active: bool


@dataclass(frozen=True)
class Config:
    """The text of haproxy.cfg with what is read from it. `structure` is the digest of all but the colours."""

    text: str
    structure: str
    servers: dict[str, Entry]

    @property
    def active(self) -> frozenset[str]:
        return frozenset(name for name, entry in self.servers.items() if entry.active)


def parse(text: str) -> Config:
    """Refused if the text is not this role's, or leaves no server active."""
    structure = _DESCRIPTION.search(text)
    servers = {m["name"]: Entry(m["endpoint"], not m["off"]) for m in _SERVER.finditer(text)}
    if structure is None or not servers:
        raise Refused("haproxy.cfg is not the one dsdeploy writes; run the router role")
    config = Config(text, structure[1], servers)
    if not config.active:
        raise Refused("haproxy.cfg would leave no engine in rotation; a router without servers is never made")
    return config


def load(path: Path) -> Config:
    try:
        return parse(path.read_text())
    except FileNotFoundError:
        raise Refused(f"{path} is not there; run the router role") from None


def with_active(config: Config, active: frozenset[str]) -> Config:
    """The same configuration with exactly these servers in rotation."""
    return parse(_SERVER.sub(lambda m: m["head"] + ("" if m["name"] in active else " disabled"), config.text))


def choose(config: Config, wishes: dict[str, str]) -> frozenset[str]:
    """Active servers after `wishes` (host -> blue | green | none); other hosts stay as they are."""
    hosts = {name.rpartition("-")[0] for name in config.servers}
    for host, colour in wishes.items():
        if host not in hosts:
            raise Refused(f"{host} is not behind this router; it knows {', '.join(sorted(hosts))}", 2)
        if colour not in (*COLOURS, "none"):
            raise Refused(f"{colour} is no colour; say blue, green or none", 2)
        if colour != "none" and f"{host}-{colour}" not in config.servers:
            raise Refused(f"{host} has no {colour} engine behind this router", 2)
    kept = {name for name in config.active if name.rpartition("-")[0] not in wishes}
    chosen = {f"{host}-{colour}" for host, colour in wishes.items() if colour != "none"}
    return frozenset(kept | chosen)


def read_releases(path: Path) -> dict[str, str]:
    """Server name -> release id."""
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.split() for line in lines if line.strip() and not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def releases_text(old: str, releases: dict[str, str], order: list[str]) -> str:
    """The map with the comment lines of `old`, then one line a server in the configuration's order."""
    comments = [line for line in old.splitlines() if line.startswith("#")]
    lines = [f"{name} {releases[name]}" for name in order if name in releases]
    return "\n".join([*comments, *lines]) + "\n"


def stage(path: Path, text: str) -> Path:
    """A synced file with `text` beside `path`, of mode 0644, to be renamed over it by `commit`."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix="." + path.name + ".")
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    return Path(name)


def commit(staged: Path, path: Path) -> None:
    staged.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write(path: Path, text: str) -> None:
    """Replaces the file's content, whole or not at all; an equal one is left alone."""
    if not path.exists() or path.read_text() != text:
        commit(stage(path, text), path)


def validate(path: Path) -> None:
    """haproxy's own check; Refused with its words."""
    command = [shutil.which("haproxy") or "/usr/sbin/haproxy", "-c", "-f", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        alerts = [line for line in done.stderr.splitlines() if "[ALERT]" in line]
        raise Refused("haproxy refuses the configuration: " + " | ".join(alerts[:3] or [done.stderr.strip()]))
