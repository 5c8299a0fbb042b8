"""What must hold before the next step. Everything is read again; what cannot be read counts as down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic, sleep

from dsdeploy import hosts, output, quorum, rolling
from dsdeploy.errors import GateError, Problem
from dsdeploy.facts import AnsweringEngines, EngineLog, EngineState, Rotation, RouterState, Srvr
from dsdeploy.hosts import Reading
from dsdeploy.job import Job
from dsdeploy.site import Colour, Site

POLL_SECONDS = 1.0
STRIKES = 2  # bad readings in a row that end a soak: one may be a machine that was busy
PROOF_SECONDS = 20.0
SETTLE_SECONDS = 15.0  # an election takes a few seconds, at most about ten; a restarted check less


def allow(job: Job, before: str, engines: Mapping[str, Colour], release: str) -> None:
    """Quorum, a write that commits, every router, and these engines with this release; waits a little for an
    election that is under way. Raises GateError with everything that speaks against it."""
    deadline = monotonic() + SETTLE_SECONDS
    with output.step(f"gate before {before}"):
        while True:
            readings = hosts.read(job.site, Srvr, Rotation, AnsweringEngines, names=_asked(job.site, engines))
            against = [*ensemble(job.site, readings), *routers(job.site, readings)]
            unfit = {h: p for h, colour in engines.items() if (p := engine(readings[h], h, colour, release))}
            against += unfit.values()
            if not against:
                break
            if monotonic() > deadline:
                raise GateError([*against, *last_words(job.site, {host: engines[host] for host in unfit})])
            job.between_steps()
            sleep(POLL_SECONDS)
        for warning in missing_members(job.site, readings):
            output.note(f"    {warning}", style="yellow")
        job.lock.step(before)


def _asked(site: Site, engines: Mapping[str, Colour]) -> list[str]:
    return [name for name, host in site.hosts.items() if name in engines or {"router", "zookeeper"} & set(host.roles)]


def ensemble(site: Site, readings: Mapping[str, Reading]) -> list[Problem]:
    """Why the quorum does not hold; nothing where it does, or where the site has no ensemble."""
    now = rolling.verdict(site, readings)
    if now.ok:
        return []
    return [Problem(f"no quorum: {now.why}", f"ensemble of {site.site}", quorum.MEND)]


def missing_members(site: Site, readings: Mapping[str, Reading]) -> list[str]:
    """A sentence when the ensemble serves with less than all members: the next failure would be one too many."""
    now = rolling.verdict(site, readings)
    down = [name for name in now.voters if name not in now.serving]
    if not now.ok or not down:
        return []
    return [
        f"warning: ZooKeeper on {', '.join(down)} is down, {len(now.serving)} of {len(now.voters)} serve "
        f"({now.majority} are needed); engines may change, members may not"
    ]


def routers(site: Site, readings: Mapping[str, Reading]) -> list[Problem]:
    """Every router must be able to take the switch, and run what its files say."""
    found = []
    for name in site.with_role("router"):
        rotation = readings[name].get(Rotation) if name in readings else None
        if rotation is None or not rotation.running:
            why = (
                rotation.error if rotation else readings[name].error if name in readings else ""
            ) or "HAProxy does not run"
            found.append(
                Problem(
                    f"the router on {name} cannot be told: {why}",
                    f"host {name}",
                    f"dsdeploy up SITE --only router --limit {name}",
                )
            )
        elif not rotation.config_runs:
            found.append(
                Problem(
                    f"the router on {name} runs another configuration than its file has",
                    f"host {name}",
                    f"dsdeploy up SITE --only router --limit {name}",
                )
            )
    return found


def engine(reading: Reading, host: str, colour: Colour, release: str) -> Problem | None:
    """Why this colour may not take requests: process, release, health, and a completion."""
    where = f"engine {colour} on {host}"
    if not reading.reachable:
        return Problem(f"{host}: {reading.error}", where, reading.hint)
    state: EngineState | None = (reading.get(AnsweringEngines) or AnsweringEngines()).get(colour)
    why = _unfit(state, release)
    return Problem(f"{where}: {why}", where, f"journalctl -u dsdeploy-engine@{colour} on {host}") if why else None


def _unfit(state: EngineState | None, release: str) -> str:
    if state is None:
        return "nothing is known about it"
    if state.unit != "active":
        return f"its unit is {state.unit} ({state.detail})"
    if state.release != release or state.running not in (None, release):
        return f"it runs {state.running or state.release}, {release} is wanted"
    if state.health != "ok":
        return f"its health is {state.health} ({state.detail})"
    return "" if state.answer else "it gives no completion"


def soak(job: Job, title: str, engines: Mapping[str, Colour], release: str) -> None:
    """Watch these engines for the site's soak time. Raises GateError once one is bad twice in a row, or restarted."""
    seconds = job.site.rollout.soak
    if not seconds or not engines:
        return
    deadline = monotonic() + seconds
    strikes = dict.fromkeys(engines, 0)
    restarts: dict[str, int] = {}
    with output.step(f"soak {title}: {seconds:g} s") as say:
        while True:
            readings = hosts.read(job.site, AnsweringEngines, names=list(engines))
            for host, colour in engines.items():
                problem = engine(readings[host], host, colour, release)
                state = (readings[host].get(AnsweringEngines) or AnsweringEngines()).get(colour)
                count = state.restarts if state else 0
                if restarts.setdefault(host, count) < count:
                    problem, strikes[host] = (
                        Problem(f"engine {colour} on {host} died and was restarted by systemd", f"host {host}"),
                        STRIKES,
                    )
                strikes[host] = strikes[host] + 1 if problem else 0
                if problem and strikes[host] >= STRIKES:
                    raise GateError(
                        [
                            Problem(f"turned bad during the soak: {problem.what}", problem.where, problem.hint),
                            *last_words(job.site, {host: colour}),
                        ]
                    )
            left = deadline - monotonic()
            if left <= 0 and not any(strikes.values()):
                return
            say(f"{max(left, 0):.0f} s left")
            job.between_steps()
            sleep(min(POLL_SECONDS, max(left, 0.2)))


def prove(job: Job, hosts_to: Mapping[str, Colour], release: str, old: str, whole: bool) -> None:
    """Requests through each router must be answered by the new release; by no other than these two, and with
    `whole` by the new one alone. Raises GateError when that is not seen in PROOF_SECONDS."""
    routers_ = job.site.with_role("router")
    missing = set(routers_)
    allowed = {release} if whole else {release, old}
    deadline = monotonic() + PROOF_SECONDS
    why: dict[str, str] = {}
    with output.step(f"prove by requests: {release} answers through {', '.join(routers_)}"):
        while missing:
            readings = hosts.read(job.site, RouterState, Rotation, names=sorted(missing))
            for name in sorted(missing):
                why[name] = _unproven(readings[name], hosts_to, release, allowed)
                if not why[name]:
                    missing.discard(name)
            if missing and monotonic() > deadline:
                raise GateError(
                    [
                        Problem(f"router {name}: {why[name]}", f"router on {name}", "dsdeploy status SITE")
                        for name in sorted(missing)
                    ]
                )


def _unproven(reading: Reading, hosts_to: Mapping[str, Colour], release: str, allowed: set[str]) -> str:
    state, rotation = reading.get(RouterState), reading.get(Rotation)
    if not state or not rotation or not rotation.running:
        return reading.error or "it could not be asked"
    wrong = [
        f"{host} is {rotation.active.get(host) or 'out'}"
        for host, colour in hosts_to.items()
        if rotation.active.get(host) != colour
    ]
    if wrong:
        return f"{', '.join(wrong)} in its rotation"
    if not rotation.persisted:
        return "its files do not say what it does: a restart would switch back"
    if strange := set(state.releases) - allowed:
        return f"{', '.join(sorted(strange))} answers requests"
    return (
        ""
        if release in state.releases
        else f"{release} answered none of its requests ({state.error or 'the old one did'})"
    )


def last_words(site: Site, engines: Mapping[str, Colour]) -> Sequence[Problem]:
    """The last lines of these engines' logs, to be shown with the reason."""
    if not engines:
        return ()
    readings = hosts.read(site, EngineLog, names=list(engines))
    found = []
    for host, colour in engines.items():
        lines = _lines(readings[host], colour)
        if lines:
            found.append(
                Problem(
                    f"the engine's last words on {host}:\n" + "\n".join(lines), f"dsdeploy-engine@{colour} on {host}"
                )
            )
    return found


def _lines(reading: Reading, colour: Colour) -> tuple[str, ...]:
    log = reading.get(EngineLog)
    return tuple(log.get(colour, ())) if log else ()
