"""Does what the source publishes agree with what this host verified, and with what lies in the directory?"""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, List, Optional, Sequence

from .errors import Finding, Refused
from .manifest import Entry
from .stamp import Record, Stamp
from .survey import Glance


def refuse_changed(known: Optional[Stamp], entries: Sequence[Entry], where: str) -> None:
    """A version means one content for good; a source that now says otherwise is not followed."""
    if known is None:
        return
    records = known.by_path()
    problems: List[Finding] = []
    for entry in entries:
        record = records.pop(entry.path, None)
        if record is None:
            problems.append(Finding(entry.path, "no such file", "a new file", "source"))
        elif not record.matches(entry):
            problems.append(_difference(record, entry))
    problems += [Finding(path, record.sha256, "no longer listed", "source") for path, record in records.items()]
    if problems:
        raise Refused(
            f"version {known.version} of {known.model} at the source is not what this host verified",
            where,
            "publish changed weights under a new version and name that; the verified copy stays as it is",
            problems,
        )


def _difference(record: Record, entry: Entry) -> Finding:
    for kind in ("sha256", "md5"):
        promised, verified = getattr(entry, kind), getattr(record, kind)
        if promised and verified and promised != verified:
            return Finding(entry.path, verified, promised, "source")
    return Finding(entry.path, f"{record.size} bytes", f"{entry.size} bytes", "source")


def refuse_strays(look: Glance, entries: Iterable[Entry], live: Path) -> None:
    """Files nobody listed, links, devices: an engine might load them, so a person must decide."""
    listed = {entry.path for entry in entries}
    strays = [finding for finding in look.extra if finding.kind != "extra" or finding.path not in listed]
    if strays:
        raise Refused("files that no manifest lists", str(live), "move them out of that directory", strays)
