"""`dsdeploy check --fabric`: each host alone, then every pair of hosts, then what all of it says together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from dsdeploy.errors import Problem
from dsdeploy.fabric import figures, judge, matrix, measure, tournament
from dsdeploy.fabric.dcgm import Diagnosis
from dsdeploy.fabric.measure import Measured, Node, Transport
from dsdeploy.facts import Engines, Gpus, GpuTopology
from dsdeploy.stacks import fleet

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site

T = TypeVar("T")
R = TypeVar("R")
Say = Callable[[str], None]

READ = (*judge.DEEP, Engines, Gpus, GpuTopology)


@dataclass
class Report:
    """What was seen, in the order it was seen. `problems` is empty exactly when everything asked was reached."""

    nodes: dict[str, Node] = field(default_factory=dict)
    alone: list[Measured] = field(default_factory=list)
    pairs: list[Measured] = field(default_factory=list)
    diagnoses: dict[str, Diagnosis] = field(default_factory=dict)
    grown: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def matrix(self, kind: str) -> dict[tuple[str, str], float]:
        """Pair -> its figure: of several ports the slowest."""
        found: dict[tuple[str, str], float] = {}
        for one in self.pairs:
            if one.kind == kind and one.value is not None:
                pair = (one.hosts[0], one.hosts[1])
                found[pair] = min(found.get(pair, one.value), one.value)
        return found


def busy(site: Site, readings: Mapping[str, Reading]) -> list[Problem]:
    """Hosts that serve: measuring takes their links and GPUs away from requests."""
    return [
        Problem(
            f"{host} runs a release, and measuring would take its links and GPUs away from requests",
            f"host {host}",
            "measure before it serves, or while requests may suffer: --while-serving",
        )
        for host, reading in readings.items()
        if any(state.unit == "active" for state in (reading.get(Engines) or Engines()).values())
    ]


def begin(site: Site, readings: Mapping[str, Reading]) -> Report:
    """What is known without measuring anything. Hosts that cannot be measured are in `problems`, not in `nodes`."""
    report = Report()
    for host, reading in readings.items():
        choice = judge.chosen(site, host, reading)
        if choice is None:
            report.problems.append(Problem(f"{host}: its RDMA devices could not be read", f"host {host}"))
            continue
        where = f"host {host}"
        report.problems += [Problem(f"fabric of {host}: {what}", where) for what in choice.problems]
        report.warnings += [Problem(f"fabric of {host}: {what}", where) for what in choice.warnings]
        report.problems += judge.libraries(host, reading)
        for level, problem in judge.health(host, reading):
            (report.problems if level == "error" else report.warnings).append(problem)
        gpus, near = fleet.used(site, reading), reading.get(GpuTopology) or GpuTopology()
        if not gpus:
            report.problems.append(Problem(f"{host}: no NVIDIA GPU answers", where, "nvidia-smi on the host"))
        report.nodes[host] = Node(
            name=host,
            address=site.hosts[host].address,
            rails=choice.rails,
            gpus=tuple(gpu.index for gpu in gpus),
            names=tuple(gpu.name for gpu in gpus),
            near={rail.device: gpu for rail in choice.rails if (gpu := near.nearest(rail.device)) is not None},
            environment=choice.environment,
        )
    return report


def run(site: Site, report: Report, to: Transport, say: Say) -> None:
    """Measure everything that can be, adding to the report. However it ends, nothing of it goes on running there:
    what was started ends with the transport's connections."""
    assert site.fabric is not None
    nodes = list(report.nodes.values())
    with_gpus = [node for node in nodes if node.gpus]
    several = [node for node in nodes if len(node.gpus) > 1]
    say(f"all_reduce on each of {len(several)} hosts with several GPUs")
    asked = site.fabric.all_reduce_gbytes
    report.alone += _at_once(several, lambda node: _alone(to, node, asked))
    say("DCGM where it is installed")
    for node, found in zip(with_gpus, _at_once(with_gpus, lambda node: measure.diagnose(to, node)), strict=True):
        if found is not None:
            report.diagnoses[node.name] = found
    able = {node.name: node for node in nodes if node.rails}
    games = tournament.rounds(list(able))
    for number, pairs in enumerate(games, 1):
        say(f"pairs: round {number} of {len(games)}")
        numbered = list(zip(pairs, measure.ports(len(pairs)), strict=True))
        for found_pair in _at_once(numbered, lambda game: _pair(site, to, able[game[0][0]], able[game[0][1]], game[1])):
            report.pairs += found_pair


def _alone(to: Transport, node: Node, asked: int) -> Measured:
    rate = max((rail.rate for rail in node.rails), default=0)
    return measure.all_reduce_here(to, node, figures.all_reduce(node.names, rate, asked))


def _pair(site: Site, to: Transport, first: Node, second: Node, port: int) -> list[Measured]:
    """Port against port, in their order, one after the other; then the GPUs of both."""
    assert site.fabric is not None
    found = []
    for rails in zip(first.rails, second.rails, strict=False):  # a host with fewer ports is named elsewhere
        rate = min(rail.rate for rail in rails)
        wanted = figures.write(rate, first.names, site.fabric.write_gbits)
        found.append(measure.write(to, first, second, rails, port, wanted))
    if first.gpus and second.gpus:
        lanes = min(len(first.gpus), len(second.gpus))  # a GPU fills one port at most
        rates = [sorted((rail.rate for rail in node.rails), reverse=True)[:lanes] for node in (first, second)]
        found.append(measure.all_reduce_pair(to, (first, second), port, figures.pair(rates)))
    return found


def _at_once(items: Sequence[T], work: Callable[[T], R]) -> list[R]:
    """One thread each. After Ctrl-C the threads are not waited for: the caller closes their connections."""
    pool = ThreadPoolExecutor(max_workers=max(len(items), 1))
    try:
        return list(pool.map(work, items))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def conclude(report: Report, before: Mapping[str, Reading], after: Mapping[str, Reading]) -> None:
    """Judge what was measured: thresholds, outliers, counters that grew."""
    for one in (*report.alone, *report.pairs):
        if not one.good:
            report.problems.append(_short(one))
    counts = {len(node.rails) for node in report.nodes.values()}
    if len(counts) > 1:
        shown = ", ".join(f"{node.name} {len(node.rails)}" for node in report.nodes.values())
        report.problems.append(Problem(f"the hosts have different numbers of usable ports: {shown}", "fabric"))
    for host, found in report.diagnoses.items():
        bad = [found.problem] if found.problem else list(found.failed)
        report.problems += [Problem(f"{host}: DCGM: {what}", f"host {host}") for what in bad]
        report.warnings += [Problem(f"{host}: DCGM: {what}", f"host {host}") for what in found.warned]
    for host in report.nodes:
        if host in before and host in after and (grown := judge.grown(before[host], after[host])):
            report.grown[host] = grown
            shown = "; ".join(f"{port}: {_counts(counters)}" for port, counters in grown.items())
            hint = "look at the cable and the port it goes to"
            report.warnings.append(Problem(f"{host}: errors counted while measuring: {shown}", f"host {host}", hint))
    report.warnings += _out_of_line(report)


def _short(one: Measured) -> Problem:
    names = " and ".join(one.hosts)
    unit, title = ("Gb/s", "ib_write_bw") if one.kind == "write" else ("GB/s", "all_reduce")
    what = f" ({one.what})" if one.what else ""
    if one.problem or one.value is None:
        return Problem(f"{title} of {names}{what}: {one.problem or 'nothing was measured'}", f"hosts {names}")
    return Problem(f"{title} of {names}{what}: {one.value:.1f} {unit}, {one.wanted:.1f} wanted", f"hosts {names}")


def _counts(counters: Mapping[str, int]) -> str:
    return ", ".join(f"{name} +{count}" for name, count in counters.items())


def _out_of_line(report: Report) -> Iterable[Problem]:
    share = figures.figures().outlier
    for kind, title in (("write", "ib_write_bw"), ("all_reduce", "all_reduce")):
        values = report.matrix(kind)
        hosts = matrix.suspects(values, share)
        for host in hosts:
            yield Problem(f"{host}: most of its pairs are slow in {title}, those without it are not", f"host {host}")
        for a, b in matrix.outliers(values, share):
            if a not in hosts and b not in hosts:
                yield Problem(f"{a} and {b} are out of line in {title}: {values[a, b]:.1f}", f"hosts {a} and {b}")
