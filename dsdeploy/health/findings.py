"""What GPU reports and health timers found, in the operator's words. Pure: readings in, sentences out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from dsdeploy.errors import Problem
from dsdeploy.facts import AnsweringEngines, GpuReport, HealthState

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site

READ = (GpuReport, HealthState)
LATE = 4  # intervals without a look after which the timer counts as dead


def problems(site: Site, reading: Reading) -> Iterator[str]:
    """What is wrong with this host's GPUs, and what the timer did about its engine or may not do. An engine that
    answers again is not held against its host until the timer looks the next time."""
    report, state = reading.get(GpuReport), reading.get(HealthState)
    if report:
        yield from (f"gpu: {problem.sentence}" for problem in report.problems if problem.level == "bad")
    if site.health is None or not site.health.enabled or state is None:
        return
    if state.error:
        yield f"health: {state.error}"
        return
    late = LATE * site.health.interval + 60
    if state.age is not None and state.age > late:
        yield f"health: the timer has not looked for {state.age / 60:.0f} min: systemctl status dsdeploy-health.timer"
    if _answers(reading, state.colour):
        pass
    elif state.out:
        yield f"health: engine {state.colour} was taken out: {state.out}. When it is mended: dsdeploy up"
    elif state.held:
        yield f"health: {state.held}"
    if not report or not report.installed:
        yield from (f"gpu: {problem}" for problem in state.gpu_problems)


def _answers(reading: Reading, colour: str) -> bool:
    """Whether a completion came back just now; False where none was asked for."""
    engine = (reading.get(AnsweringEngines) or AnsweringEngines()).get(colour)
    return bool(engine and engine.answer)


def warnings(site: Site, reading: Reading) -> Iterator[str]:
    """To be mended when it suits, and engines that had to be restarted."""
    report, state = reading.get(GpuReport), reading.get(HealthState)
    if report:
        yield from (f"gpu: {problem.sentence}" for problem in report.problems if problem.level != "bad")
    if state and state.restarts and not state.out:
        last = state.restarts[-1]
        yield f"health: {len(state.restarts)} restarts of a wedged engine in the last hour or so, the last: {last}"


def standing_in_the_way(site: Site, host: str, reading: Reading) -> Iterator[Problem]:
    """GPUs the engine is to use and never could."""
    report = reading.get(GpuReport)
    for one in report.problems if report else ():
        if one.fatal and one.gpu is not None and (site.engine.devices == "all" or one.gpu in site.engine.devices):
            yield Problem(f"{host}: {one.sentence}", f"host {host}", one.hint)


def worth_knowing(site: Site, readings: Mapping[str, Reading]) -> tuple[Problem, ...]:
    """What else the reports found, host by host."""
    found = []
    for host, reading in readings.items():
        report = reading.get(GpuReport) if reading.reachable else None
        way = {one.what for one in standing_in_the_way(site, host, reading)} if report else set()
        for one in report.problems if report else ():
            if f"{host}: {one.sentence}" not in way:
                found.append(Problem(f"{host}: {one.sentence}", f"host {host}", one.hint))
    return tuple(found)
