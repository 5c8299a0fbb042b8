"""From what hosts said to what is so, and what is wrong, by name. Pure: readings in, Status out.

Healthy means observed, not assumed: a host that cannot be read, a member that does not answer, a
router whose answer names no release each speak against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dsdeploy import drift, quorum
from dsdeploy.facts import (
    AnsweringEngines,
    Clock,
    Engines,
    EngineState,
    Epoch,
    Hugepages,
    Kept,
    PacketFilter,
    RouterState,
    Runs,
    SiteId,
    Srvr,
    Thp,
    Weights,
)  # fmt: skip
from dsdeploy.health import findings
from dsdeploy.quorum import Quorum
from dsdeploy.releases import recover
from dsdeploy.runtimes.groups import heads
from dsdeploy.state import HostStatus, RouterStatus, Status

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site

KINDS: tuple[type[Any], ...] = (
    Clock,
    SiteId,
    Srvr,
    AnsweringEngines,
    RouterState,
    Thp,
    Hugepages,
    Weights,
    Epoch,
    Runs,
    Kept,
    PacketFilter,
    *findings.READ,
)


def status(site: Site, readings: Mapping[str, Reading], names: Sequence[str] | None = None) -> Status:
    """Judge a site by what its hosts said.

    Read every host: the quorum and the release are the site's, whatever part is shown. `names` says
    which hosts are shown and count; without it all of them do.
    """
    shown = [name for name in site.hosts if names is None or name in names]
    answers = {m.host: _get(readings, m.host, Srvr) for m in site.members}
    verdict = quorum.verdict([m.host for m in site.members], answers)
    release, problems = _release(site, readings)
    if not verdict.ok:
        problems = [*problems, f"no quorum: {verdict.why}"]
    hosts = {name: _host(site, name, readings.get(name), verdict, _rotation(readings)) for name in shown}
    routers = {name: _router(_get(readings, name, RouterState)) for name in site.with_role("router") if name in shown}
    found = Status(site.site, False, "", release, verdict, hosts, routers, tuple(problems))
    wrong = found.named()
    words = _verdict(site, found, wrong)
    left = recover.unfinished({name: reading for name, reading in readings.items() if reading.reachable})
    return Status(
        site.site,
        not wrong,
        words,
        release,
        verdict,
        hosts,
        routers,
        tuple(problems),
        left.sentence() if left else None,
    )


def _get(readings: Mapping[str, Reading], name: str, kind: type[Any]) -> Any:
    reading = readings.get(name)
    return reading.get(kind) if reading else None


def _rotation(readings: Mapping[str, Reading]) -> set[tuple[str, str]]:
    """(host, colour) of every engine some router would send requests to."""
    states = [state for name in readings if (state := _get(readings, name, RouterState))]
    return {(server.host, server.colour) for state in states for server in state.servers if server.in_rotation}


def serving_colour(host: str, engines: Engines, rotation: set[tuple[str, str]]) -> EngineState | None:
    """The engine of a host that takes requests: the routers know; without them, the one that is well."""
    chosen = [engine for colour, engine in engines.items() if (host, colour) in rotation]
    if chosen:
        return min(chosen, key=_well)
    candidates = [engine for engine in engines.values() if engine.release or engine.unit != "inactive"]
    return min(candidates, key=_well, default=None)


def _well(engine: EngineState) -> tuple[bool, bool]:
    return engine.health != "ok", engine.unit != "active"


def _release(site: Site, readings: Mapping[str, Reading]) -> tuple[str | None, list[str]]:
    """The one release that routers answer with and serving engines run; a mixture is a problem."""
    seen: set[str] = set()
    for name in site.with_role("router"):
        state = _get(readings, name, RouterState)
        seen.update(state.releases if state else ())
    rotation = _rotation(readings)
    for name in site.with_role("engine"):
        engine = serving_colour(name, _get(readings, name, Engines) or Engines(), rotation)
        if engine and engine.health == "ok" and (release := engine.running or engine.release):
            seen.add(release)
    if len(seen) > 1:
        return None, [f"several releases serve: {', '.join(sorted(seen))}"]
    return next(iter(seen), None), [] if seen else ["no release serves"]


def _host(
    site: Site, name: str, reading: Reading | None, verdict: Quorum, rotation: set[tuple[str, str]]
) -> HostStatus:
    host = site.hosts[name]
    reachable = reading is not None and reading.reachable
    problems: list[str] = []
    engine = None
    if reading is None or not reading.reachable:
        problems.append(reading.error if reading else "was not read")
    else:
        problems += drift.problems(site, reading)
        if "engine" in host.roles:
            engine = serving_colour(name, reading.get(Engines) or Engines(), rotation)
            if name not in heads(site):
                engine = _silent(engine)
            problems += _engine_problems(engine)
        if name in verdict.problems:
            problems.append(verdict.problems[name])
    srvr = reading.get(Srvr) if reading else None
    return HostStatus(
        address=host.address,
        reachable=reachable,
        roles=host.roles,
        release=(engine.running or engine.release) if engine else None,
        colour=engine.colour if engine else None,
        engine=(engine.health if engine else "down") if "engine" in host.roles and reachable else None,
        zookeeper=((srvr.mode or "down") if srvr else "unknown") if name in verdict.voters else None,
        weights=_weights((reading.get(Weights) if reading else None) or Weights()),
        problems=tuple(problems),
        warnings=tuple(drift.warnings(site, reading) if reading and reachable else ()),
        watched=tuple(findings.problems(site, reading) if reading and reachable else ()),
        kept=reading.get(Kept) if reading else None,
    )


def _silent(engine: EngineState | None) -> EngineState | None:
    """A host that is part of another's engine and answers nobody: its unit is all there is to see."""
    return engine and replace(engine, health="ok" if engine.unit == "active" else "down", answer=None)


def _engine_problems(engine: EngineState | None) -> list[str]:
    if engine is None:
        return ["engine: none is set up"]
    name = f"engine {engine.colour}"
    if engine.health != "ok":
        said = "still loads the model" if engine.health == "loading" else "does not answer"
        return [f"{name}: {said} ({engine.detail})"]
    if engine.answer is False:
        return [f"{name}: says it is healthy, but gave no completion"]
    if engine.running and engine.release and engine.running != engine.release:
        return [f"{name}: runs {engine.running}, is set to {engine.release}: not restarted since"]
    return []


def _weights(weights: Weights) -> dict[str, str]:
    """`verified`, `pulling 31%`, or why not."""
    found = {}
    for name, stamp in weights.items():
        if stamp.partial is not None and not stamp.verified:
            total = (stamp.progress or {}).get("bytes_total")
            done = f" {100 * stamp.partial // total}%" if isinstance(total, int) and total > 0 else ""
            found[name] = f"pulling{done}"
        else:
            found[name] = "verified" if stamp.verified else "not verified"
    return found


def _router(state: RouterState | None) -> RouterStatus:
    if state is None:
        return RouterStatus(False, None, 0, ("router: not known, its host could not be asked",))
    if not state.active:
        return RouterStatus(False, None, 0, ("router: haproxy does not run",))
    problems = [f"router: {state.error}"] if state.error else []
    down = [s for s in state.servers if s.in_rotation and not s.status.startswith("UP")]
    problems += [f"router: {server.name} is {server.status} ({server.check})" for server in down]
    if state.health != 200 and not state.error:
        problems.append(f"router: /health answers {state.health or 'nothing'}")
    release = state.releases[0] if len(state.releases) == 1 else None
    return RouterStatus(True, release, len(state.up), tuple(problems))


def _verdict(site: Site, found: Status, wrong: Sequence[tuple[str, str]]) -> str:
    if not wrong:
        engines, routers = len(site.with_role("engine")), len(site.with_role("router"))
        parts = [f"release {found.release}", f"{engines} engines", f"{routers} routers"]
        if found.quorum.voters:
            parts.append(f"quorum {len(found.quorum.serving)}/{len(found.quorum.voters)}")
        return f"{found.site} is healthy: {', '.join(parts)}"
    name, problem = next((item for item in wrong if item[0]), wrong[0])
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return f"{found.site} is not healthy: {f'{name}: ' if name else ''}{problem}{more}"
