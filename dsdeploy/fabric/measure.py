"""Run the measuring programs on hosts and read what they say. A transport starts scripts; nothing here knows SSH."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dsdeploy.errors import HostUnreachable
from dsdeploy.fabric import all_reduce, commands, dcgm, write_bw
from dsdeploy.fabric.choice import Rail

PORT = 18_600  # and above: one for each pair of a round
WRITE_SECONDS, REDUCE_SECONDS, DIAGNOSE_SECONDS = 60, 240, 900
GRACE = 10.0  # beyond a script's own limit, until its connection is given up


class Running(Protocol):
    def read(self, seconds: float) -> str: ...

    def end(self) -> object: ...


class Transport(Protocol):
    """As ssh.Shells: scripts that end with their connection."""

    def start(self, host: str, script: str, told: str = "") -> Running: ...


@dataclass(frozen=True)
class Node:
    """A host as the measuring programs need it. `near` is RDMA device -> the GPU with the shortest way to it."""

    name: str
    address: str
    rails: tuple[Rail, ...]
    gpus: tuple[int, ...]
    names: tuple[str, ...] = ()  # of those GPUs
    near: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """`value` in the unit of its kind (write Gb/s, all_reduce GB/s); None where nothing was measured."""

    kind: str  # write | all_reduce
    hosts: tuple[str, ...]
    value: float | None
    wanted: float | None
    what: str = ""  # the ports, or the program
    problem: str = ""

    @property
    def good(self) -> bool:
        return not self.problem and self.value is not None and self.value >= (self.wanted or 0.0)


def write(to: Transport, server: Node, client: Node, rails: tuple[Rail, Rail], tcp: int, wanted: float) -> Measured:
    """One port of a host against one of another: the client writes into the server's memory."""
    what = f"{rails[0].name} < {rails[1].name}"
    script = commands.write_client(
        rails[1].device, rails[1].port, tcp, rails[1].gid, client.near.get(rails[1].device), server.address
    )
    other = commands.write_server(
        rails[0].device, rails[0].port, tcp, rails[0].gid, server.near.get(rails[0].device)
    )  # fmt: skip
    hosts = (server.name, client.name)
    try:
        listening = to.start(server.name, commands.guarded(other, WRITE_SECONDS))
        try:
            said = _run(to, client.name, script, WRITE_SECONDS)
        except HostUnreachable:
            listening.end()
            raise
        heard = commands.answered(listening.read(GRACE if said[0] == 0 else 1.0))
    except HostUnreachable as error:
        return Measured("write", hosts, None, wanted, what, str(error))
    if problem := _missing(server.name, heard) or _missing(client.name, said):
        return Measured("write", hosts, None, wanted, what, problem)
    found = write_bw.parse(said[1].get("json", ""), said[1].get("text", ""))
    memory = said[1].get("memory gpu") is not None
    problem = found.problem if found.gbits is None else ""
    return Measured("write", hosts, found.gbits, wanted, f"{what}, {'GPU' if memory else 'host'} memory", problem)


def all_reduce_here(to: Transport, node: Node, wanted: float | None) -> Measured:
    """All GPUs of one host."""
    try:
        status, parts = _run(to, node.name, commands.all_reduce_here(node.gpus, {}), REDUCE_SECONDS)
    except HostUnreachable as error:
        return Measured("all_reduce", (node.name,), None, wanted, "", str(error))
    program = next((title[8:] for title in parts if title.startswith("program ")), "")
    return _reduced((node.name,), status, parts, wanted, program)


def all_reduce_pair(to: Transport, nodes: tuple[Node, Node], port: int, wanted: float) -> Measured:
    """The GPUs of two hosts, over the fabric alone between them, with the environment an engine would get."""
    names = (nodes[0].name, nodes[1].name)
    count = min(len(node.gpus) for node in nodes)
    first = nodes[0].address
    meet, token = f"{f'[{first}]' if ':' in first else first}:{port}", secrets.token_hex(16)
    scripts = [
        commands.all_reduce_among(rank, 2, meet, node.gpus[:count], node.environment) for rank, node in enumerate(nodes)
    ]
    try:
        other = to.start(names[1], commands.guarded(scripts[1], REDUCE_SECONDS, told=True), token)
        try:
            status, parts = _run(to, names[0], f"echo '== json'\n{scripts[0]}", REDUCE_SECONDS, token)
        finally:
            heard = other.read(1.0)
    except HostUnreachable as error:
        return Measured("all_reduce", names, None, wanted, "", str(error))
    found = _reduced(names, status, parts, wanted, "all_reduce.py")
    if found.value is None and "error: " in heard:  # the other side may know better
        told = heard.split("error: ")[-1].splitlines()[0][:200]
        return Measured("all_reduce", names, None, wanted, found.what, f"{found.problem}; {names[1]}: {told}")
    return found


def diagnose(to: Transport, node: Node) -> dcgm.Diagnosis | None:
    """DCGM's second level; None where it is not installed."""
    try:
        _, parts = _run(to, node.name, commands.diagnose(), DIAGNOSE_SECONDS)
    except HostUnreachable as error:
        return dcgm.Diagnosis(problem=str(error))
    return None if "missing dcgmi" in parts else dcgm.parse(parts.get("json", ""))


def _run(to: Transport, host: str, script: str, seconds: int, told: str = "") -> tuple[int | None, dict[str, str]]:
    running = to.start(host, commands.guarded(script, seconds, told=bool(told)), told)
    return commands.answered(running.read(seconds + GRACE))


def _missing(host: str, said: tuple[int | None, Mapping[str, str]]) -> str:
    return f"{host} has no ib_write_bw: install perftest" if "missing ib_write_bw" in said[1] else ""


def _reduced(
    hosts: tuple[str, ...], status: int | None, parts: Mapping[str, str], wanted: float | None, program: str
) -> Measured:
    found = all_reduce.parse(parts.get("json", ""), parts.get("text", ""))
    problem = found.problem if found.bus is None else ""
    if found.bus is None and status == 124:
        problem = f"not done within {REDUCE_SECONDS} s"
    elif found.wrong:
        problem = f"{found.wrong} values came out wrong"
    return Measured("all_reduce", hosts, found.bus, wanted, program, problem)


def ports(count: int) -> Sequence[int]:
    """A TCP port for each of so many pairs that run at once."""
    return range(PORT, PORT + count)
