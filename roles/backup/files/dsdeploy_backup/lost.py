"""What a host can still know of its snapshots when its ledger is gone: from the snapshots themselves."""

from __future__ import annotations

import contextlib
import json
from typing import Callable, Optional, Tuple

from . import ledger, prove
from .config import Config
from .errors import Trouble
from .files import digest, put, remove
from .ledger import Entry
from .restic import Repository
from .stage import LEDGER, MANIFEST, SETS


def highest(repository: Repository, config: Config, asked: str = "") -> Tuple[int, str]:
    """(number, id) of this host's snapshot with the highest number in its list; dates are not trusted. (-1, "")
    without one. Raises Trouble when the repository cannot be read."""
    best = (-1, "")
    for one in repository.snapshots():
        if one.get("hostname") != config.host or (asked and not str(one["id"]).startswith(asked)):
            continue
        code, said, _ = repository.call(("dump", str(one["id"]), f"/{MANIFEST}"))
        number = _sequence(said, config) if code == 0 else -1
        best = max(best, (number, str(one["id"])))
    return best if best[0] >= 0 else (-1, "")


def relearn(config: Config, repository: Repository, say: Callable[[str], None]) -> None:
    """Bring the ledger back from the newest snapshot in the local repository, once that is proven. Nothing where
    there is a ledger, or no snapshot. Raises Trouble."""
    if ledger.read(config.ledger).entries:
        return
    _, identity = highest(repository, config)
    if not identity:
        return
    say(f"this host's list of snapshots is gone: taking it from {identity[:8]}")
    try:
        folder = prove.restored(repository, identity, config.scratch)
        document = prove.compare(folder, config.site, config.host)
        kept = folder / SETS / LEDGER / str(config.ledger).lstrip("/")
        if kept.is_file():
            put(config.ledger, kept.read_text(encoding="ascii"))
        sizes = [one.get("size", 0) for part in document["sets"].values() for one in part["files"].values()]
        entry = Entry(document["sequence"], identity, document["kind"], ledger.now(), sum(sizes), len(sizes),
                      digest(folder / MANIFEST))  # fmt: skip
    finally:
        remove(config.scratch)
    ledger.append(config.ledger, "proven", **entry.__dict__)


def count_on(config: Config, number: int) -> None:
    """The next snapshot gets a higher number than this: else an older one elsewhere would look newer."""
    if number > ledger.read(config.ledger).sequence:
        ledger.append(config.ledger, "counted", sequence=number)


def remember(config: Config, here: Repository, away: Optional[Repository], say: Callable[[str], None]) -> None:
    """A host that lost its ledger, or is fresh, goes on counting where it was. Raises Trouble."""
    relearn(config, here, say)
    if away and not ledger.read(config.ledger).sequence:
        with contextlib.suppress(Trouble):  # a server that is away cannot tell
            count_on(config, highest(away, config)[0] if away.exists() else -1)


def _sequence(said: str, config: Config) -> int:
    try:
        found = json.loads(said)
        ours = (found["site"], found["host"]) == (config.site, config.host)
        return int(found["sequence"]) if ours else -1
    except (ValueError, KeyError, TypeError):
        return -1
