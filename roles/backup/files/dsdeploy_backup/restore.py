"""Bring files back: proven in a scratch folder first, then placed beside the live ones, then renamed.

Until every byte was compared nothing that is live is touched; what was there is kept under `.before-<snapshot>`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import decide, ledger, lost, place, prove, where
from .alone import alone
from .config import Config
from .errors import DONE, Trouble
from .files import remove, sync
from .ledger import Entry
from .restic import Repository
from .run import Say
from .stage import LEDGER, SETS

ROOM = 64 << 20  # bytes to leave free


def restore(config: Config, say: Say, snapshot: str = "", what: Sequence[str] = (), to: str = "",
            source: str = "auto", replace: bool = False, start: bool = True,
            always: bool = False) -> Dict[str, Any]:  # fmt: skip
    """Into the folder `to`, or in place. Raises Trouble; the words say whether anything was changed."""
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone(config.state / "lock", config.wait) as hold:
        repository, identity, wanted = find(config, snapshot, source, hold, say)
        say(f"restoring {identity[:8]} from {repository.at}")
        # beside the target, so that the last step is a rename on one disk
        scratch = Path(to.rstrip("/") + ".partial") if to else config.scratch
        if to:
            _refuse_existing(Path(to))
        try:
            _room(repository, identity, scratch)
            document = prove.compare(prove.restored(repository, identity, scratch), config.site, config.host, wanted)
            names = _names(document, what)
            if not to:
                names = [name for name in names if name != LEDGER]
                lost.count_on(config, document["sequence"])
            if to:
                done, services = _into(scratch, Path(to), document, names), []
            else:
                services = place.running(document, names)
                if services and not replace:
                    raise Trouble(f"{', '.join(services)} runs here; nothing was changed", config.host,
                                  "add --replace: it is stopped, its data exchanged, then started")  # fmt: skip
                after = place.units(document, names) if always else services if start else []
                done = place.in_place(scratch, document, names, services, after, identity)
        except OSError as error:
            raise Trouble(f"{error.strerror}: {error.filename}; what is live was not touched unless named above",
                          str(scratch), "df -h; then run the same command again") from error  # fmt: skip
        finally:
            remove(scratch)
    for line in done:
        say(line)
    return {"ok": True, "code": DONE, "host": config.host, "snapshot": identity, "sequence": document["sequence"],
            "sets": names, "services": services, "messages": done}  # fmt: skip


def find(config: Config, asked: str, source: str, hold: Optional[int], say: Say) -> Tuple[Repository, str, str]:
    """(repository, the snapshot's id in it, digest of its list). Raises Trouble naming what there is instead.

    A host that lost its ledger gets it back from its own repository. On a fresh one there is neither: then the
    snapshot offsite whose list says the highest number is taken.
    """
    here = where.local(config, hold)
    if source != "offsite" and (Path(here.address) / "config").exists():
        lost.relearn(config, here, say)
    book = ledger.read(config.ledger)
    entry = decide.chosen(book.ordered(), asked)
    if entry:
        return _of(config, entry, source, hold)
    if asked and book.entries and source != "offsite":
        newest = decide.newest(book.ordered())
        known = f"newest good one: {newest.sequence} ({newest.snapshot[:8]})" if newest else "there is no good one"
        raise Trouble(f"no snapshot {asked} here; {known}", config.repository, "dsdeploy backup list SITE")
    for repository in _places(config, source, hold):
        _, best = lost.highest(repository, config, asked)
        if best:
            return repository, best, ""
    raise Trouble("no snapshot of this host is to be found, here or offsite", config.repository,
                  "dsdeploy backup list SITE; is backup.offsite the one it was made with?")  # fmt: skip


def _of(config: Config, entry: Entry, source: str, hold: Optional[int]) -> Tuple[Repository, str, str]:
    here = where.local(config, hold)
    if source != "offsite" and entry.good and Path(here.address).is_dir():
        return here, entry.snapshot, entry.manifest
    away = where.offsite(config, hold)
    if away and entry.offsite and source != "local":
        return away, entry.offsite, entry.manifest
    newest = ledger.read(config.ledger).ordered()
    good = decide.newest(newest)
    raise Trouble(f"snapshot {entry.sequence} is not good here ({entry.bad or 'no repository'}) and not offsite",
                  config.repository, f"dsdeploy restore SITE {good.sequence}" if good else "")  # fmt: skip


def _places(config: Config, source: str, hold: Optional[int]) -> List[Repository]:
    here = where.local(config, hold)
    found = [here] if source != "offsite" and (Path(here.address) / "config").exists() else []
    away = where.offsite(config, hold) if source != "local" else None
    return [*found, *([away] if away else [])]


def _room(repository: Repository, identity: str, scratch: Path) -> None:
    """Raises Trouble when the disk cannot take it: before anything is written."""
    wanted = int(json.loads(repository.run("stats", "--json", identity))["total_size"])
    at = scratch.parent
    while not at.exists():
        at = at.parent
    seen = os.statvfs(str(at))
    free = seen.f_bavail * seen.f_frsize
    if wanted * 2 + ROOM > free:
        raise Trouble(f"{wanted >> 20} MiB are to be restored, {free >> 20} MiB are free; nothing was written", str(at),
                      "free some space, or give another folder with --to")  # fmt: skip


def _names(document: Dict[str, Any], what: Sequence[str]) -> List[str]:
    there = list(document["sets"])
    strange = [name for name in what if name not in there]
    if strange:
        raise Trouble(f"the snapshot has no {', '.join(strange)}", "", f"it has {', '.join(there)}")
    return [name for name in there if not what or name in what]


def _refuse_existing(to: Path) -> None:
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Trouble(
            f"{to} is there and not empty; nothing was changed", str(to), "give a folder that is not there yet"
        )


def _into(scratch: Path, to: Path, document: Dict[str, Any], names: List[str]) -> List[str]:
    for name in document["sets"]:
        if name not in names:
            remove(scratch / SETS / name)
    if to.is_dir():
        to.rmdir()
    os.replace(str(scratch), str(to))
    sync(to.parent)
    return [f"{name}: {len(document['sets'][name]['files'])} files in {to / SETS / name}" for name in names]
