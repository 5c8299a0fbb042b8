"""A seventh of the weights and builds each night, read and compared with the digests of their arrival.

By number and not by date: each night the next slice, so that all is read in seven nights, whatever the clock says.
What was bad is read again every night, so that it stays told until it is mended.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

from . import ledger, metrics
from .alone import wait_for_switch
from .config import Config
from .errors import DONE, FAILED
from .files import digest, put
from .run import Say

SLICES = 7
PREFIX = "dsdeploy_verify"
PLACES = {
    "weights": "/srv/dsdeploy/weights",
    "stamps": "/var/lib/dsdeploy/weights",
    "builds": "/srv/dsdeploy/builds",
}
# beside what is used: what is being made, and what was put aside because it was damaged
ASIDE = re.compile(r".*\.(?:partial|damaged-[0-9]+)")


class Expected(NamedTuple):
    """One file as it was when it came."""

    path: Path
    size: int
    sha256: str


def expected(weights: Path, stamps: Path, builds: Path) -> Iterator[Expected]:
    """Files of all weights that were verified here and not removed since, and of all builds."""
    gone = removed(weights, stamps)
    for stamp in sorted(stamps.glob("*/*.json")):
        folder = weights / stamp.parent.name / stamp.stem
        if folder not in gone:
            yield from _files(stamp, folder)
    for build in sorted(builds.glob("*/build.json")):
        if not ASIDE.fullmatch(build.parent.name):
            yield from _files(build, build.parent)


def removed(weights: Path, stamps: Path) -> List[Path]:
    """Weights that were verified here and whose folder alone is gone, as a whole: a person did that, to make room.
    None where all of them are gone: then a disk is not mounted."""
    folders = [weights / stamp.parent.name / stamp.stem for stamp in sorted(stamps.glob("*/*.json"))]
    return [folder for folder in folders if not folder.exists()] if weights.is_dir() else []


def _files(listing: Path, root: Path) -> Iterator[Expected]:
    try:
        found = json.loads(listing.read_text(encoding="utf-8")).get("files", [])
        for one in found:
            yield Expected(root / one["path"], int(one["size"]), str(one["sha256"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield Expected(listing, -1, "")  # it says nothing that could be compared: that is a finding


def shared(files: List[Expected], number: int) -> List[Expected]:
    """This night's: the largest go to different nights, so that each has about as much to read."""
    ordered = sorted(files, key=lambda one: (-one.size, str(one.path)))
    return [one for place, one in enumerate(ordered) if place % SLICES == number % SLICES]


def wrong(one: Expected) -> str:
    """What is wrong with a file; "" when it is as it came."""
    try:
        if one.size < 0:
            return "its list cannot be read"
        if one.path.stat().st_size != one.size:
            return f"{one.path.stat().st_size} bytes instead of {one.size}"
        return "" if digest(one.path) == one.sha256 else "other content"
    except OSError as error:
        return str(error.strerror)


def _lines(path: Path) -> List[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def nightly(config: Config, say: Say) -> Dict[str, Any]:
    """Read this night's slice; findings as metrics and in the journal. Never changes a file of the model's. Raises
    Trouble (75) when a switch takes too long."""
    wait_for_switch(config.runs, config.wait, say)
    places = [Path(config.extra.get(name, default)) for name, default in PLACES.items()]
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    counter = config.state / "nightly"
    number = int(counter.read_text() or 0) if counter.exists() else 0
    files = list(expected(*places))
    mine = shared(files, number)
    remembered = config.state / "nightly.bad"
    mine += [one for one in files if one not in mine and str(one.path) in _lines(remembered)]
    started, found = time.monotonic(), {str(one.path): why for one in mine if (why := wrong(one))}
    findings = [f"{path}: {why}" for path, why in found.items()]
    for finding in findings:
        say(finding)
    put(remembered, "".join(f"{path}\n" for path in found))
    put(counter, str(number + 1))
    rows: List[Tuple[str, str, float]] = [
        ("last_run_timestamp_seconds", "When a slice was last read.", round(time.time())),
        ("last_run_success", "1 when all of it was as it came.", float(not findings)),
        ("bad_files", "Files of it that are not.", len(findings)),
        ("read_bytes", "Bytes of it.", sum(one.size for one in mine if one.size > 0)),
        ("duration_seconds", "How long it took.", time.monotonic() - started),
        ("slice", "Which of seven it was.", number % SLICES),
    ]
    text = "".join(f"# HELP {PREFIX}_{n} {h}\n# TYPE {PREFIX}_{n} gauge\n{PREFIX}_{n} {v:.15g}\n" for n, h, v in rows)
    problem = metrics.put_text(config.metrics.with_name("dsdeploy_verify.prom"), text)
    messages = [f"slice {number % SLICES + 1} of {SLICES}: {len(mine)} of {len(files)} files read, {len(findings)} bad"]
    messages += [f"{folder} was removed; its stamp stays" for folder in removed(*places[:2])]
    ledger.append(config.ledger, "nightly", slice=number % SLICES, ok=not findings)
    return {"ok": not findings, "code": FAILED if findings else DONE, "host": config.host,
            "messages": [*messages, *findings, *([problem] if problem else [])]}  # fmt: skip
