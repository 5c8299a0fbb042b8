"""All that can be done while the old release serves: weights pulled and verified, runtime and build made."""

from __future__ import annotations

from collections.abc import Sequence

from dsdeploy import decide, hosts, progress
from dsdeploy.job import Job
from dsdeploy.rollout import target
from dsdeploy.rollout.run import READ
from dsdeploy.rollout.target import Target


def prepared(job: Job) -> Target:
    """The site file's release, whole on every engine host; nothing is run where all of it is there."""
    site = job.site
    readings = hosts.read(site, *READ)
    expected = decide.expected_release(site, readings)
    if not expected or not target.complete(site, readings, expected):
        pull(job, site.with_role("engine"))
        readings = hosts.read(site, *READ)
        job.decisions = decide.decisions(site, readings, site.with_role("engine"))
        build(job, site.with_role("engine"))
    return target.from_site(site, readings)


def pull(job: Job, engines: Sequence[str]) -> None:
    """Weights onto these hosts, verified."""
    with job.step("weights", "pull and verify weights"), progress.weights(job.site, engines, job.say):
        job.run("weights", engines)


def build(job: Job, engines: Sequence[str]) -> None:
    """Runtime and build of the release decided on; an existing one is left alone."""
    with job.step("build", f"install the runtime, build for release {job.decisions.release}"):
        job.run("build", engines)
