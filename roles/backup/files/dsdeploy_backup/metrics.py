"""What a backup did, as node_exporter's textfile collector reads it."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

from . import decide
from .config import Config
from .files import put
from .ledger import Ledger

HELP: Dict[str, Tuple[str, str]] = {
    "last_run_timestamp_seconds": ("gauge", "When the last run ended, good or bad."),
    "last_run_success": ("gauge", "1 when it made a snapshot that was restored and compared."),
    "last_run_duration_seconds": ("gauge", "How long it took."),
    "last_success_timestamp_seconds": ("gauge", "When the newest good snapshot was made."),
    "last_full_timestamp_seconds": ("gauge", "When the newest good full snapshot was made."),
    "last_rehearsal_timestamp_seconds": ("gauge", "When a restore was last rehearsed."),
    "last_rehearsal_success": ("gauge", "1 when every file of it was as backed up."),
    "last_verify_timestamp_seconds": ("gauge", "When all snapshots were last restored and compared again."),
    "last_verify_success": ("gauge", "1 when each of them, and every pack, was as it was made."),
    "last_check_timestamp_seconds": ("gauge", "When a part of the local repository was last read back."),
    "last_check_success": ("gauge", "1 when that part was whole; one that was not is mended, and read again."),
    "last_offsite_check_timestamp_seconds": ("gauge", "When a part of the offsite repository was last read back."),
    "last_offsite_check_success": ("gauge", "1 when that part was whole."),
    "snapshot_bytes": ("gauge", "Size of what the newest good snapshot holds."),
    "snapshot_files": ("gauge", "Files in it."),
    "warnings": ("gauge", "Files that changed or vanished while it was made."),
    "repository_bytes": ("gauge", "Size of the local repository."),
    "snapshots": ("gauge", "Snapshots by state; unknown ones were made by no run of ours."),
    "offsite_success": ("gauge", "1 when the last run brought all good snapshots offsite; absent without offsite."),
    "offsite_missing": ("gauge", "Good snapshots that are not offsite."),
}

# event in the ledger -> its word in the metrics
LOOKS = {"rehearsed": "rehearsal", "verified": "verify", "checked": "check", "offsite_checked": "offsite_check"}


def text(values: Mapping[str, List[Tuple[str, float]]]) -> str:
    """`values`: name without its prefix -> [(labels or "", value)]."""
    lines = []
    for name, (kind, meaning) in HELP.items():
        if name in values:
            full = f"dsdeploy_backup_{name}"
            lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}"]
            lines += [f"{full}{labels} {value:.15g}" for labels, value in values[name]]
    return "\n".join(lines) + "\n"


def values(
    config: Config, ledger: Ledger, unknown: int, outcome: Mapping[str, Any]
) -> Dict[str, List[Tuple[str, float]]]:
    """Everything that is known after a run. `outcome`: proven, offsite (None: not wanted), seconds."""
    entries = ledger.ordered()
    good = [entry for entry in entries if entry.good]
    fulls = [entry for entry in good if entry.kind == "full"]
    found: Dict[str, List[Tuple[str, float]]] = {
        "last_run_timestamp_seconds": [("", round(time.time()))],
        "last_run_success": [("", float(bool(outcome.get("proven"))))],
        "last_run_duration_seconds": [("", float(outcome.get("seconds", 0)))],
        "repository_bytes": [("", float(_size(Path(config.repository))))],
        "snapshots": [('{state="good"}', len(good)), ('{state="bad"}', len(entries) - len(good)),
                      ('{state="unknown"}', unknown)],
    }  # fmt: skip
    newest = decide.newest(entries)
    if newest:
        found["last_success_timestamp_seconds"] = [("", _at(newest.at))]
        found["snapshot_bytes"] = [("", newest.bytes)]
        found["snapshot_files"] = [("", newest.files)]
        found["warnings"] = [("", newest.warnings)]
    if fulls:
        found["last_full_timestamp_seconds"] = [("", _at(fulls[-1].at))]
    for event, name in LOOKS.items():
        if (told := ledger.told.get(event)) and (config.offsite or event != "offsite_checked"):
            found[f"last_{name}_timestamp_seconds"] = [("", _at(str(told.get("at"))))]
            found[f"last_{name}_success"] = [("", float(bool(told.get("ok"))))]
    if config.offsite:
        found["offsite_success"] = [("", float(bool(outcome.get("offsite"))))]
        found["offsite_missing"] = [("", len(decide.best_offsite(entries)))]
    return found


def amend(path: Path, config: Config, ledger: Ledger) -> None:
    """After a rehearsal or a verification: their lines anew, all others as the last run left them."""
    fresh = values(config, ledger, 0, {})
    ours = {name: fresh[name] for look in LOOKS.values() for name in HELP if f"last_{look}_" in name and name in fresh}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line + "\n" for line in lines if not any(f"_last_{look}_" in line for look in LOOKS.values())]
    except OSError:
        kept = []
    put_text(path, "".join(kept) + text(ours))


def write(path: Path, found: Mapping[str, List[Tuple[str, float]]]) -> str:
    """The file of a run; "" or why it could not be."""
    return put_text(path, text(found))


def put_text(path: Path, content: str) -> str:
    """Put the file in place. "" or why it could not be: a full disk must not make a good backup a failure."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, content, 0o644)
    except OSError as error:
        return f"the metrics could not be written: {error.strerror} ({path})"
    return ""


def _at(text_: str) -> float:
    try:
        return datetime.fromisoformat(text_).timestamp()
    except ValueError:
        return 0.0


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total
