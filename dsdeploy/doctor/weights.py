"""Weights on a host that are not what was verified when they came, from its stamps. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from dsdeploy.doctor.evidence import Evidence, HostEvidence
from dsdeploy.doctor.finding import Finding

WHERE, ASIDE = "/srv/dsdeploy/weights", "/srv/dsdeploy/strays"
MOST = 20  # names in one command


def weights(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    """What a verification found, files that were cut, files that nobody verified."""
    again = f"dsdeploy up SITE --only weights --limit {name}"
    for version, stamp in host.fact("Weights").items():
        if strays := stamp.get("strays"):
            paths = [f"{WHERE}/{version}/{path}" for path in strays[:MOST]]
            aside = f"mkdir -p {ASIDE} && mv -t {ASIDE} {shlex.join(paths)}"
            yield Finding(
                "foreign",
                name,
                f"{version} of {name}: {', '.join(strays[:3])} was never verified, and lies among what was",
                "somebody put it there, and an engine might load it; it is moved out of the way",
                f"{host.script(aside)} && {again}",
                3,
            )
        if not strays and stamp.get("digest") and stamp.get("size") != stamp.get("bytes"):
            yield Finding(
                "truncated",
                name,
                f"{version} of {name} has {stamp['size']} bytes, verified were {stamp['bytes']}",
                "files were cut or removed since; they are pulled again",
                again,
                3,
            )
        elif stamp.get("bad"):
            yield Finding(
                "md5",
                name,
                f"{version} of {name}: {', '.join(stamp['bad'][:3])} is not what was verified",
                "the disk changed it, or somebody did; it is pulled again",
                again,
                3,
            )
