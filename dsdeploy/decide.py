"""From readings to decisions: which release, made of what, in which colour on each host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from dsdeploy import plan, release, wheelhouse
from dsdeploy.decisions import Decisions
from dsdeploy.errors import PreflightError, Problem
from dsdeploy.fabric import environment
from dsdeploy.facts import Engines, Os, Releases, Weights
from dsdeploy.hosts import Reading
from dsdeploy.release import Release
from dsdeploy.runtimes import hardware, pythons, wheels
from dsdeploy.runtimes.groups import spread
from dsdeploy.site import Site


def decisions(site: Site, readings: Mapping[str, Reading], targets: Iterable[str]) -> Decisions:
    """Everything the engine and router roles must be told.

    `readings` has Engines, Os and Weights of the engine hosts; those in `targets` must have
    verified weights, all of the same content. Raises PreflightError otherwise, and
    DsdeployError when no wheels can be had for the runtime.
    """
    chosen = _release(site, _digests(site, readings, targets), readings)
    return Decisions(
        release=chosen.id,
        weights_digest=chosen.weights_digest,
        build_key=chosen.build_key,
        settings=chosen.settings,
        wheelhouse=_wheels(site, readings),
        pythons=_pythons(site, readings),
        colours=spread(site, plan.colours(site, readings, chosen.id)),
        releases=_placed(readings),
        environment=environment.required(site, readings),
    )


def expected_release(site: Site, readings: Mapping[str, Reading]) -> str | None:
    """The id `up` would arrive at, when the verified weights of the hosts tell it."""
    digests = {digest for digest in _stamped(site, readings).values() if digest}
    if len(digests) != 1:
        return None
    chosen = _release(site, digests.pop(), readings)
    _same_content(readings, chosen)
    return chosen.id


def _same_content(readings: Mapping[str, Reading], chosen: Release) -> None:
    """Raise PreflightError where a host has this id with other content: only an id that was given can clash."""
    wanted = (chosen.weights_digest, chosen.build_key, release.settings_digest(chosen.settings))
    for host, reading in readings.items():
        files = (reading.get(Releases) or Releases()).get(chosen.id)
        if files is None or not files.manifest:
            continue
        there = tuple(files.manifest.get(name) for name in ("weights_digest", "build_key", "settings_digest"))
        if there != wanted:
            what = f"release {chosen.id} is on {host} with other content, and a release is never changed"
            hint = "give rollout.release another id, or remove it from the site file"
            raise PreflightError([Problem(what, f"host {host}, /srv/dsdeploy/releases/{chosen.id}", hint)])


def _release(site: Site, digest: str, readings: Mapping[str, Reading]) -> Release:
    return release.decide(site, digest, hardware.describe(site, readings))


def _digests(site: Site, readings: Mapping[str, Reading], targets: Iterable[str]) -> str:
    stamped = _stamped(site, readings)
    name = f"{site.model.name}/{site.model.version}"
    bad = [
        Problem(f"{host} has no verified weights of {name}", f"host {host}", "dsdeploy up SITE --only weights")
        for host in targets
        if not stamped.get(host)
    ]
    if bad:
        raise PreflightError(bad)
    digests = {host: digest for host, digest in stamped.items() if digest}
    if not digests:
        raise PreflightError([Problem(f"no host has verified weights of {name} yet", f"site {site.site}",
                                      "dsdeploy up SITE, without --limit")])  # fmt: skip
    if len(set(digests.values())) != 1:
        shown = ", ".join(f"{host}: {digest[:19]}…" for host, digest in digests.items())
        raise PreflightError([Problem(f"the hosts verified different weights as {name}: {shown}", site.model.source,
                                      "give the newer content a version of its own")])  # fmt: skip
    return next(iter(digests.values()))


def _stamped(site: Site, readings: Mapping[str, Reading]) -> dict[str, str]:
    name = f"{site.model.name}/{site.model.version}"
    found: dict[str, str] = {}
    for host in site.with_role("engine"):
        stamp = (readings[host].get(Weights) or Weights()).get(name) if host in readings else None
        found[host] = stamp.digest if stamp and stamp.verified else ""
    return found


def _placed(readings: Mapping[str, Reading]) -> dict[str, dict[str, str]]:
    """Which release each colour of each host holds now, for the routers' answer header."""
    return {
        host: {colour: state.release for colour, state in (reading.get(Engines) or Engines()).items() if state.release}
        for host, reading in readings.items()
    }


def _pythons(site: Site, readings: Mapping[str, Reading]) -> dict[str, str]:
    """host -> the Python of its engine, where that is not the one Ansible uses there."""
    engines = [host for host in site.with_role("engine") if host in readings] if pythons.needed(site) else []
    return {host: path for host in engines if (path := pythons.chosen(site, readings[host]).path)}


def _wheels(site: Site, readings: Mapping[str, Reading]) -> Path | None:
    """Wheels that run on every engine host: their Python, and the oldest C library among them.

    None for a container, unless it is Triton's: what answers in front of that one runs beside it.
    """
    if not pythons.needed(site):
        return None
    engines = [host for host in site.with_role("engine") if host in readings]
    unfit = {host: pythons.why(site, host, readings[host]) for host in engines}
    if wrong := [Problem(what, f"host {host}", hint) for host, (what, hint) in unfit.items() if what]:
        raise PreflightError(wrong)
    systems = {host: system for host in engines if (system := readings[host].get(Os))}
    kinds = {(pythons.chosen(site, readings[host]).version, system.arch) for host, system in systems.items()}
    if len(kinds) != 1:
        shown = ", ".join(sorted(f"Python {python} on {arch}" for python, arch in kinds)) or "unknown"
        raise PreflightError([Problem(f"engine hosts must have one Python version and architecture: {shown}",
                                      f"site {site.site}", "split them into two sites")])  # fmt: skip
    python, arch = kinds.pop()
    glibc = min((system.glibc for system in systems.values()), key=lambda text: [int(part) for part in text.split(".")])
    pins = wheels.requirements(site) if wheels.needed(site) else release.requirements(site.engine.runtime)
    return wheelhouse.ensure(pins, python, arch, glibc, site.engine.wheelhouse)
