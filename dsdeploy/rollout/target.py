"""A release as something that can be started: what the roles must be told about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dsdeploy import decide
from dsdeploy.decisions import Decisions
from dsdeploy.errors import PreflightError, Problem
from dsdeploy.fabric import environment
from dsdeploy.facts import ReleaseFiles, Releases, Weights
from dsdeploy.hosts import Reading
from dsdeploy.site import Site


@dataclass(frozen=True)
class Target:
    """`site` is the operator's site with the model and engine settings of this release."""

    release: str
    site: Site
    decisions: Decisions


def from_site(site: Site, readings: Mapping[str, Reading]) -> Target:
    """What the site file asks for. Needs verified weights on every engine host; raises as decide.decisions."""
    decisions = decide.decisions(site, readings, site.with_role("engine"))
    return Target(decisions.release, site, decisions)


def from_hosts(site: Site, readings: Mapping[str, Reading], release: str) -> Target:
    """A release that is on the hosts' disks already, as its manifest says.

    Raises PreflightError with every host where a part of it is missing or damaged.
    """
    engines = site.with_role("engine")
    wrong = [
        Problem(
            f"{host} cannot start {release}: {why}",
            f"host {host}, /srv/dsdeploy/releases/{release}",
            "dsdeploy history SITE lists what is whole; dsdeploy up SITE mends the weights",
        )
        for host in engines
        if (why := _missing(readings.get(host), release))
    ]
    if wrong:
        raise PreflightError(wrong)
    files = _files(readings[engines[0]])[release]
    manifest, settings = files.manifest, files.settings
    decisions = Decisions(
        release=release,
        weights_digest=str(manifest.get("weights_digest", "")),
        build_key=str(manifest.get("build_key", "")),
        settings=settings,
        environment=environment.of_hosts(site, readings),
    )
    return Target(release, _site(site, manifest, settings), decisions)


def complete(site: Site, readings: Mapping[str, Reading], release: str) -> bool:
    """Whether every engine host has all of this release on disk."""
    return not any(_missing(readings.get(host), release) for host in site.with_role("engine"))


def available(site: Site, readings: Mapping[str, Reading]) -> tuple[str, ...]:
    """Releases that are whole on every engine host."""
    found = {release for host in site.with_role("engine") for release in _files(readings.get(host))}
    return tuple(sorted(release for release in found if complete(site, readings, release)))


def _files(reading: Reading | None) -> Releases:
    return (reading.get(Releases) if reading else None) or Releases()


def _missing(reading: Reading | None, release: str) -> str:
    """What keeps this host from starting the release; "" when nothing does."""
    files: ReleaseFiles | None = _files(reading).get(release)
    if files is None:
        return "it is not there"
    name = f"{files.manifest.get('model')}/{files.manifest.get('version')}"
    stamp = ((reading.get(Weights) if reading else None) or Weights()).get(name)
    gone = [what for what in ("build", "runtime", "weights") if not getattr(files, what)]
    if not stamp or not stamp.verified or stamp.digest != files.manifest.get("weights_digest"):
        gone.append(f"verified weights {name}")
    return f"no {', no '.join(gone)}" if gone else ""


def _site(site: Site, manifest: Mapping[str, Any], settings: Mapping[str, Any]) -> Site:
    model = site.model.model_copy(update={"name": manifest.get("model"), "version": manifest.get("version")})
    batching = site.engine.batching.model_copy(
        update={
            **settings.get("batching", {}),
            "preferred_batch_size": tuple(settings["batching"]["preferred_batch_size"]),
        }
    )
    devices = settings.get("devices", "all")
    engine = site.engine.model_copy(
        update={
            "runtime": settings["runtime"],
            "precision": settings["build"]["precision"],
            "context_tokens": settings["context_tokens"],
            "memory_fraction": settings["memory_fraction"],
            "devices": devices if devices == "all" else tuple(devices),
            "tensor_parallel": settings["tensor_parallel"],
            "pipeline_parallel": settings.get("pipeline_parallel", 1),
            "nodes": settings.get("nodes", 1),
            "image": settings.get("image") or None,
            "batching": batching,
        }
    )
    return site.model_copy(update={"model": model, "engine": engine})
