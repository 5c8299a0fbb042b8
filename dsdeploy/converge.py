"""The stages of `up`, in order: each reads what it must, decides, and starts one or two plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from dsdeploy import decide, hosts, playbook, progress, rolling, watch
from dsdeploy.backup import play
from dsdeploy.fabric import judge as fabric
from dsdeploy.facts import Engines, Interpreter, Os, Weights
from dsdeploy.job import Job
from dsdeploy.rollout import drivers, moves, prepared, run
from dsdeploy.rollout.asked import Asked
from dsdeploy.rollout.target import Target
from dsdeploy.runtimes import hardware


def prepare(job: Job, asked: Asked) -> None:
    """Hosts, and at the same time the weights: neither needs the other."""
    engines = job.targets("engine")
    with job.step("prepare", "prepare hosts, pull and verify weights"):
        plays = [partial(job.play, "prep", job.limit or None)]
        if engines:
            plays.append(partial(job.play, "weights", engines, folder="weights"))
        with progress.weights(job.site, engines, job.say):
            job.done(*playbook.together(plays))


def prep(job: Job, asked: Asked) -> None:
    with job.step("prepare", "prepare hosts"):
        job.run("prep", job.limit or None)


def stack(job: Job, asked: Asked) -> None:
    """Driver, CUDA and libraries of the site's stack on engine hosts; nothing at all for stack cpu."""
    drivers.bring(job, asked)


def rdma(job: Job, asked: Asked) -> None:
    """RDMA on the engine hosts of a site that has it; after the drivers, whose peer memory it loads."""
    if job.site.fabric is not None and job.targets("engine"):
        with job.step("prepare", "RDMA on the engine hosts"):
            job.run("fabric", job.targets("engine"))


def weights(job: Job, asked: Asked) -> None:
    prepared.pull(job, job.targets("engine"))


def build(job: Job, asked: Asked) -> None:
    """Runtime and build, both named after what they are made of, so an existing one is left alone."""
    if not job.targets("engine") and not job.targets("router"):
        return
    _decide(job)
    prepared.build(job, job.targets("engine"))


def ensemble(job: Job, asked: Asked) -> None:
    """ZooKeeper on its members; one that needs a restart gets it when the others hold without it."""
    members = job.targets("zookeeper")
    if not members:
        return
    with job.step("ensemble", "ZooKeeper ensemble"):
        job.run("ensemble", members)
    rolling.restart_where_needed(job.site, members, partial(member, job))


def member(job: Job, host: str) -> None:
    """Restart one member and wait until it serves."""
    with job.step("member", f"restart the ZooKeeper member on {host}", host=host):
        job.run("member", (host,))


def serve(job: Job, asked: Asked) -> None:
    """The release on every engine host: started where nothing else takes requests, else by the loop of upgrade."""
    if not job.targets("engine"):
        return
    _decide_if_skipped(job)
    seen = moves.look(job.site)
    if seen.needs(job.decisions.release) and not job.limit:
        run.move(job, Target(job.decisions.release, job.site, job.decisions), str(job.header["from"]), asked)
    else:
        start(job, asked)


def start(job: Job, asked: Asked) -> None:
    """Start the release in its colour on every engine host and wait for a real completion."""
    if not job.targets("engine"):
        return
    _decide_if_skipped(job)
    with job.step("start", f"start release {job.decisions.release}"):
        job.run("engine", job.targets("engine"))


def router(job: Job, asked: Asked) -> None:
    """Routers as the site file says. Colours stay as they are: only a host that has none in rotation gets one."""
    routers = job.targets("router")
    if not routers:
        return
    seen = moves.look(job.site)
    stays = {name: _stays(host.active) for name, host in seen.hosts.items()}
    mends = bool(not job.decisions.release and seen.serving and all(stays.values()))
    if mends:  # `--only router`, and every engine keeps its place: no matter what weights the next release has
        job.decisions = replace(job.decisions, release=seen.serving)
    else:
        _decide_if_skipped(job)
    active = {name: colour or job.decisions.colours.get(name, "") for name, colour in stays.items()}
    job.decisions = replace(
        job.decisions,
        active=active,
        releases={
            name: {c: p.release for c, p in host.places.items() if p.release} for name, host in seen.hosts.items()
        },
    )
    with job.step("router", f"routers: settings of the site file, {job.decisions.release} behind them", past=True):
        job.run("router", routers)
    if not job.limit and not mends:
        moves.retire(job, job.decisions.release)


def health(job: Job, asked: Asked) -> None:
    """The timer that looks at engines and GPUs; a site that has no section `health` has none."""
    if job.site.health is None or not job.targets("engine"):
        return
    with job.step("health", "health timer", past=True):
        job.run("health", job.targets("engine"))


def backup(job: Job, asked: Asked) -> None:
    """Timers for backups and logs; nothing where the site file has neither."""
    play.keep(job)


def _stays(active: Mapping[str, str | None]) -> str:
    """The colour that takes a host's requests now, on the first router that has one."""
    return next((colour for colour in active.values() if colour), "")


def _decide(job: Job) -> None:
    kinds: tuple[type[Any], ...] = (Engines, Interpreter, Os, Weights, *hardware.reads(job.site), *fabric.READ)
    readings = hosts.read(job.site, *kinds, names=job.site.with_role("engine"))
    job.decisions = decide.decisions(job.site, readings, job.targets("engine"))


def _decide_if_skipped(job: Job) -> None:
    """`--only engine` and `--only router` start in the middle: what they need is read again."""
    if not job.decisions.release:
        _decide(job)


Stage = Callable[[Job, Asked], None]
ALL: tuple[Stage, ...] = (prepare, stack, rdma, build, ensemble, serve, router, health, backup, watch.monitor)
ONE: Mapping[str, Stage] = {
    "prep": prep, "stack": stack, "fabric": rdma, "weights": weights, "build": build, "ensemble": ensemble,
    "engine": start, "router": router, "health": health, "backup": backup, "monitor": watch.monitor,
}  # fmt: skip


def stages(only: str | None) -> tuple[Stage, ...]:
    """All stages in order, or the one that was asked for."""
    return (ONE[only],) if only else ALL
