"""What to do, from what is known: pure, and by generation, never by the clock, which a host may have wrong."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from .ledger import Entry

GO, WAIT = "go", "wait"
# steps of a run in which requests move, or members or hosts restart; in all others a backup is fine. `start` is the
# last that an engine host is told before the commit: the switch itself is told to routers only
SWITCHING = frozenset(
    {"member", "restart", "start", "out", "swap", "switch", "commit", "park", "stop", "back", "clear"}
)
DEAD_SECONDS = 2 * 3600.0


def kind(entries: Sequence[Entry], full_every: int) -> str:
    """`full` when there is no good one, or when the chain since it is as long as it may be."""
    for since, entry in enumerate(sorted(entries, key=lambda one: one.sequence, reverse=True), start=1):
        if entry.good and entry.kind == "full":
            return "full" if since >= full_every else "incremental"
    return "full"


def part(fulls: int, slices: int) -> str:
    """Which slice of all packs is read back this time: 1/4, 2/4, … in turn, so that all are read."""
    return "%d/%d" % (fulls % slices + 1, slices)


def newest(entries: Sequence[Entry]) -> Optional[Entry]:
    """The snapshot to restore unless another is asked for."""
    return max((entry for entry in entries if entry.good), key=lambda entry: entry.sequence, default=None)


def forget(entries: Sequence[Entry], keep: int, keep_full: int, offsite: bool) -> List[Entry]:
    """Snapshots that retention no longer wants. Only good ones are counted; the last good one and the last good
    full are never given up, nor is one that is not offsite yet. A bad one goes when a newer good full exists."""
    good = sorted((entry for entry in entries if entry.good), key=lambda entry: entry.sequence)
    fulls = [entry for entry in good if entry.kind == "full"]
    if not fulls:
        return []
    kept = {entry.snapshot for entry in good[-max(keep, 1) :] + fulls[-max(keep_full, 1) :]}
    gone = [entry for entry in good if entry.snapshot not in kept and (entry.offsite or not offsite)]
    return gone + [entry for entry in entries if not entry.good and entry.sequence < fulls[-1].sequence]


def strangers(snapshots: Sequence[Mapping[str, Any]], known: Set[str], begun: Set[str]) -> Tuple[List[str], List[str]]:
    """Snapshots that are in no ledger: (left by our own killed runs, added by somebody else)."""
    ours: List[str] = []
    others: List[str] = []
    for snapshot in snapshots:
        if snapshot["id"] not in known:
            tokens = {str(tag)[6:] for tag in snapshot.get("tags") or () if str(tag).startswith("token-")}
            (ours if tokens & begun else others).append(str(snapshot["id"]))
    return ours, others


def compatible(last: Optional[Mapping[str, Any]], age: float) -> str:
    """May a backup run beside the run of dsdeploy whose last record on this host is this, `age` seconds old?

    A run that moved nothing for hours is dead; its state is worth a backup the more.
    """
    if not last or last.get("kind") != "step" or last.get("step") not in SWITCHING:
        return GO
    return GO if not 0 <= age < DEAD_SECONDS else WAIT


def best_offsite(entries: Sequence[Entry]) -> List[Entry]:
    """Good snapshots that are still to be copied, oldest first."""
    return [entry for entry in sorted(entries, key=lambda one: one.sequence) if entry.good and not entry.offsite]


def chosen(entries: Sequence[Entry], asked: str) -> Optional[Entry]:
    """The snapshot an operator means: by its number, or by the start of its id (8 characters at least)."""
    if not asked:
        return newest(entries)
    found: Dict[str, Entry] = {
        entry.snapshot: entry
        for entry in entries
        if asked == str(entry.sequence) or (len(asked) >= 8 and entry.snapshot.startswith(asked))
    }
    return next(iter(found.values())) if len(found) == 1 else None
