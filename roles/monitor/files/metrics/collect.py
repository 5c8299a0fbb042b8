#!/usr/bin/python3
"""What dsdeploy knows of this host, as a file for node_exporter's textfile directory.

    collect.py /etc/dsdeploy/metrics.json

A timer runs it. Standard library only, Python >= 3.8. What cannot be read is left out, and an alert says that it is
missing: a zero would look like an answer.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Tuple

import ensemble
import units
import words

Sample = Tuple[str, Dict[str, str], float]
ROOT = Path("/")


def main(config: Path) -> None:
    wanted = json.loads(config.read_text(encoding="utf-8"))
    write(Path(wanted["out"]), text(collect(wanted)))


def collect(wanted: Mapping[str, Any], root: Path = ROOT) -> Iterator[Sample]:
    """Every sample of this host, part by part."""
    yield "dsdeploy_collected_timestamp_seconds", {}, time.time()
    yield from kernel(wanted["kernel"], root)
    yield from certificates(wanted["certificates"])
    yield from unfinished(root / "var/lib/dsdeploy/runs")
    yield from backups(root / "var/lib/dsdeploy/backup/ledger.jsonl")
    if wanted["engine"]:
        yield from units.engines(root / "srv/dsdeploy")
        yield from weights(root / "var/lib/dsdeploy/weights")
    if wanted["vip"]:
        yield "dsdeploy_router_address_held", {}, float(units.held(wanted["vip"]))
    if wanted["zookeeper"]:
        host, _, port = wanted["zookeeper"].rpartition(":")
        yield from ensemble.samples(ensemble.ask(host, int(port), b"mntr"))


def kernel(wanted: Mapping[str, Any], root: Path) -> Iterator[Sample]:
    """Whether memory is set as the site file says; 0 huge pages leave the pool alone."""
    enabled = root / "sys/kernel/mm/transparent_hugepage/enabled"
    pool = root / "proc/sys/vm/nr_hugepages"
    try:
        found = re.search(r"\[(\w+)\]", enabled.read_text())
        ok = bool(found) and found.group(1) == wanted["transparent_hugepages"]  # type: ignore[union-attr]
        yield "dsdeploy_kernel_setting_ok", {"setting": "transparent_hugepages"}, float(ok)
        if wanted["hugepages_2mb"]:
            pages = int(pool.read_text())
            yield "dsdeploy_kernel_setting_ok", {"setting": "hugepages_2mb"}, float(pages >= wanted["hugepages_2mb"])
    except (OSError, ValueError):
        return


def weights(folder: Path) -> Iterator[Sample]:
    """When each version was last read whole and found good."""
    for stamp in sorted(folder.glob("*/*.json")):
        try:
            at = units.seconds(json.loads(stamp.read_text(encoding="utf-8"))["verified_at"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        labels = {"model": stamp.parent.name, "version": stamp.name[: -len(".json")]}
        yield "dsdeploy_weights_verified_timestamp_seconds", labels, at


def certificates(folders: List[str]) -> Iterator[Sample]:
    for folder in folders:
        for path in sorted(Path(folder).glob("*.pem")) + sorted(Path(folder).glob("*.crt")):
            ends = units.expiry(path)
            if ends is not None:
                yield "dsdeploy_certificate_expiry_timestamp_seconds", {"path": str(path)}, ends


def unfinished(runs: Path) -> Iterator[Sample]:
    """The newest run, if it has not ended: an older one was taken up or overtaken by it."""
    newest = max(runs.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return
    lines = [line for line in newest.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    try:
        first, last = json.loads(lines[0]), json.loads(lines[-1])
        if last.get("kind") != "end":
            yield "dsdeploy_run_unfinished_since_timestamp_seconds", {"run": newest.stem}, units.seconds(first["at"])
    except (IndexError, ValueError, KeyError, AttributeError):
        return


def backups(ledger: Path) -> Iterator[Sample]:
    """When this host's first backup was begun: from then on a restore can be rehearsed."""
    try:
        with ledger.open(encoding="ascii", errors="replace") as lines:
            yield "dsdeploy_backup_begun_timestamp_seconds", {}, units.seconds(json.loads(lines.readline())["at"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def text(samples: Iterator[Sample]) -> str:
    """The exposition format; samples of one name stand together, as it demands."""
    grouped: Dict[str, List[str]] = {}
    for name, labels, value in samples:
        shown = ",".join('%s="%s"' % (key, escaped(labels[key])) for key in sorted(labels))
        grouped.setdefault(name, []).append("%s%s %r" % (name, "{%s}" % shown if shown else "", value))
    lines = []
    for name, found in grouped.items():
        if name in words.HELP:
            lines.append("# HELP %s %s" % (name, words.HELP[name]))
        lines += ["# TYPE %s %s" % (name, "counter" if name.endswith("_total") else "gauge"), *found]
    return "\n".join(lines) + "\n"


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def write(path: Path, content: str) -> None:
    """Whole or not at all: the exporter reads it at any moment."""
    descriptor, draft = tempfile.mkstemp(dir=str(path.parent), prefix=".dsdeploy.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), 0o644)
        os.replace(draft, str(path))
    except OSError:
        os.unlink(draft)
        raise


if __name__ == "__main__":
    main(Path(sys.argv[1]))
