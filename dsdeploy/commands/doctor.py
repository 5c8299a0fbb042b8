"""`dsdeploy doctor`: what is wrong, why, and what to do next; from the hosts, or from an archive of what they said."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from dsdeploy import output, paths
from dsdeploy.errors import DsdeployError
from dsdeploy.site import load

if TYPE_CHECKING:
    from dsdeploy.doctor.evidence import Evidence

WELL, SICK = 0, 1
KEPT = 5  # archives that failed runs left
LINES = 400  # of the newest run's logs


def doctor(path: Path, *, as_json: bool, bundle: Path | None = None, source: Path | None = None) -> int:
    """0 when nothing known is wrong, 1 with findings. With `source` no host and no site file is read."""
    from dsdeploy.doctor import bundle as archive
    from dsdeploy.doctor import judge

    given = archive.read(source) if source else collect(path, bundle)
    found = [finding.about(given.file) for finding in judge.findings(given)]
    if as_json:
        told = str(bundle) if bundle else None
        output.emit_json({"site": given.site, "findings": [asdict(finding) for finding in found], "bundle": told})
        return SICK if found else WELL
    for finding in found:
        output.say(f"{finding.entry}: {finding.symptom}")
        output.say(f"  why: {finding.cause}")
        output.say(f"  try: {finding.command}")
    count = f"{len(found)} findings" if len(found) > 1 else "1 finding" if found else "nothing known is wrong"
    output.say(f"{given.site}: {count}, {len(given.hosts)} hosts")
    if bundle:
        output.note(f"archive {bundle}; secrets are removed, look into it before you send it")
    return SICK if found else WELL


def collect(path: Path, bundle: Path | None) -> Evidence:
    """Read every host and this computer's newest run; with `bundle` put it into an archive too."""
    site = load(path)
    from dsdeploy import facts, hosts, runs
    from dsdeploy.doctor import bundle as archive
    from dsdeploy.doctor import evidence, secrets, told

    kinds = (
        facts.Clock, facts.Disks, facts.DriverModule, facts.Engines, facts.Gpus, facts.HostLog, facts.PackageLock,
        facts.Ports, facts.RouterState, facts.Runs, facts.SiteId, facts.Srvr, facts.StackState, facts.Thp,
        facts.UnknownModels, facts.Weights,
    )  # fmt: skip
    with output.step(f"read {len(site.hosts)} hosts"):
        readings = hosts.read(site, *kinds)
    newest = runs.newest(site)
    files = archive.run_files(newest.folder if newest else None)
    last = told.lines(files)[-LINES:]
    given = evidence.gather(site, readings, last)
    if bundle:
        archive.write(bundle, given, site.file.read_text(encoding="utf-8"), files, secrets.known(site))
    return given


def keep(path: Path) -> Path | None:
    """An archive beside the runs, after one has failed; None, with the reason told, when there can be none."""
    try:
        site = load(path)
        folder = paths.work_dir(site.file, site.site) / "support"
        folder.mkdir(exist_ok=True, mode=0o700)
        for old in sorted(folder.glob("*.tar.gz"))[: 1 - KEPT]:
            old.unlink(missing_ok=True)
        made = folder / f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}.tar.gz"
        collect(path, made)
    except (DsdeployError, OSError) as error:
        output.note(f"no support archive: {error}")
        return None
    output.note(f"what the hosts say now is in {made}; dsdeploy doctor --from {made} explains it")
    return made
