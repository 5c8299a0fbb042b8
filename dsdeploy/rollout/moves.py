"""The atomic steps the loop is made of. Each is one play, recorded before and after; done again, it changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic, sleep

from dsdeploy import hosts, output
from dsdeploy.facts import Engines, Rotation
from dsdeploy.job import Job
from dsdeploy.releases.view import COLOURS, OTHER, View, view
from dsdeploy.rollout.target import Target
from dsdeploy.runtimes.groups import heads, spread, whole
from dsdeploy.site import Colour, Site

POLL_SECONDS = 0.5
Colours = Mapping[str, Colour]


def look(site: Site) -> View:
    """What is where, read this moment."""
    names = [*heads(site), *site.with_role("router")]
    return view(site, hosts.read(site, Engines, Rotation, names=names))


def start(job: Job, target: Target, where: Colours, step: str = "start") -> None:
    """The release in its colour on these hosts, started and asked; the other colour is not touched."""
    title = f"start {target.release} on {', '.join(where)} and ask it the known question"
    with job.step(step, title, release=target.release, hosts=dict(where)):
        colours = spread(job.site, where)
        job.run("engine", tuple(colours), replace(target.decisions, colours=colours), site=target.site)


def switch(job: Job, router: str, target: Target, where: Colours, old: str, step: str = "switch") -> None:
    """One router sends these hosts' requests to the colours given, and keeps it for its next start."""
    title = f"{router}: requests of {', '.join(where)} go to {target.release}"
    names = {f"{host}-{colour}": target.release for host, colour in where.items()}
    with job.step(step, title, router=router, hosts=dict(where), release=target.release, old=old):
        job.run("switch", (router,), wishes=where, names=names)


def out(job: Job, host: str, old: str, step: str = "out") -> None:
    """The host leaves rotation on every router; what it answers goes on."""
    for router in job.site.with_role("router"):
        with job.step(step, f"{router}: {host} gets no new requests", router=router, hosts={host: "none"}, old=old):
            job.run("switch", (router,), wishes={host: "none"})


def swap(job: Job, target: Target, host: str, colour: Colour) -> None:
    """Where memory holds one release: the old one is stopped, then the new one started."""
    with job.step(
        "swap", f"{host}: stop the old release, start {target.release}", release=target.release, hosts={host: colour}
    ):
        unit = whole(job.site, (host,))  # of a group all are stopped before one starts
        job.run("stop", unit, replace(target.decisions, colours=dict.fromkeys(unit, OTHER[colour])))
        job.run("engine", unit, replace(target.decisions, colours=dict.fromkeys(unit, colour)), site=target.site)


def drain(job: Job, where: Colours, past: bool = False) -> int:
    """Wait until these colours answer no request on any router; after the site's drain time the rest is cut.

    Returns how many requests were cut. A router that cannot be asked counts as still answering.
    """
    servers = tuple(f"{host}-{colour}" for host, colour in where.items())
    if not servers:
        return 0
    deadline = monotonic() + job.site.rollout.drain
    with output.step(f"drain {', '.join(servers)}") as say:
        while (left := _open(job, servers)) != 0:
            if monotonic() >= deadline:
                break
            seconds = deadline - monotonic()
            say(f"{'unknown' if left is None else left} open requests, {seconds:.0f} s until they are cut")
            job.between_steps()
            sleep(POLL_SECONDS)
        else:
            return 0
    cut = park(job, servers, cut=True, past=past)
    output.note(f"    {cut} requests were cut after {job.site.rollout.drain:g} s of draining", style="yellow")
    return cut


def park(job: Job, servers: Sequence[str], cut: bool = False, past: bool = True) -> int:
    """Drained colours into maintenance on every router; returns how many requests were cut."""
    if not servers:
        return 0
    with job.step("park", f"put away {', '.join(servers)}", past, servers=list(servers), cut=cut):
        outcome = job.run("park", job.site.with_role("router"), parked=tuple(servers), cut=cut)
    counts = [report.get("cut", 0) for report in outcome.reports]
    return sum(count for count in counts if isinstance(count, int))


def stop(job: Job, where: Colours, step: str = "stop") -> None:
    """The engines in these colours; their files stay."""
    if not where:
        return
    title = f"stop {', '.join(f'{host} {colour}' for host, colour in where.items())}; its files stay"
    with job.step(step, title, step == "stop", hosts=dict(where)):
        colours = spread(job.site, where)
        job.run("stop", tuple(colours), replace(job.decisions, colours=colours))


def retire(job: Job, serving: str, only: str = "", step: str = "stop") -> int:
    """What still runs beside the release that serves (`only` that release): drained, put away, then stopped.

    Drained here too: the run that took it out of rotation may have died before it had waited. Returns how many
    requests were cut.
    """
    seen, past = look(job.site), step == "stop"
    left = {host: colour for host, colour in idle(seen, serving).items()
            if only in ("", seen.hosts[host].places[colour].release)}  # fmt: skip
    cut = 0
    if seen.routers:
        cut = drain(job, left, past)
        park(job, [f"{host}-{colour}" for host, colour in left.items()], past=past)
    stop(job, left, step)
    return cut


def idle(seen: View, serving: str) -> dict[str, Colour]:
    """The colours in which another release than this one runs and takes no new requests."""
    return {
        name: colour
        for name, host in seen.hosts.items()
        for colour in COLOURS
        if host.places[colour].runs and host.places[colour].release != serving and colour not in host.active.values()
    }


def _open(job: Job, servers: Sequence[str]) -> int | None:
    readings = hosts.read(job.site, Rotation, names=job.site.with_role("router"))
    total = 0
    for reading in readings.values():
        rotation = reading.get(Rotation)
        if rotation is None or not rotation.running:
            return None
        total += sum(server.open for server in rotation.servers if server.name in servers)
    return total
