"""Bring files back: proven in a scratch folder first, then placed beside the live ones, then renamed.

Until every byte was compared nothing that is live is touched; what was there is kept under `.before-<snapshot>`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import lost, place, prove
from .alone import alone
from .config import Config
from .errors import DONE, NoRoom, Trouble
from .files import remove, sync
from .find import Place, places
from .room import room
from .run import Say
from .stage import LEDGER, SETS


def restore(config: Config, say: Say, snapshot: str = "", what: Sequence[str] = (), to: str = "",
            source: str = "auto", replace: bool = False, start: bool = True,
            always: bool = False) -> Dict[str, Any]:  # fmt: skip
    """Into the folder `to`, or in place. Raises Trouble; the words say whether anything was changed."""
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone(config.state / "lock", config.wait) as hold:
        # beside the target, so that the last step is a rename on one disk
        scratch = Path(to.rstrip("/") + ".partial") if to else config.scratch
        if to:
            _refuse_existing(Path(to))
        try:
            taken, document, told = _proven(config, scratch, snapshot, source, hold, say)
            names = _names(document, what)
            if not to:
                names = [name for name in names if name != LEDGER]
                lost.count_on(config, document["sequence"])
            if to:
                done, services = _into(scratch, Path(to), document, names), []
            else:
                wanted = place.plan(config, scratch, document, names, what)
                services = place.running(wanted.services)
                if services and not replace:
                    raise Trouble(f"{', '.join(services)} runs here; nothing was changed", config.host,
                                  "add --replace: it is stopped, its data exchanged, then started")  # fmt: skip
                done = place.in_place(wanted, services, wanted.after(services, start, always), taken.snapshot)
        except OSError as error:
            raise Trouble(f"{error.strerror}: {error.filename}; what is live was not touched",
                          str(scratch), "df -h; then run the same command again") from error  # fmt: skip
        finally:
            remove(scratch)
    for line in done:
        say(line)
    return {"ok": True, "code": DONE, "host": config.host, "snapshot": taken.snapshot,
            "sequence": document["sequence"], "sets": names, "services": services,
            "messages": [*told, *done]}  # fmt: skip


def _proven(
    config: Config, scratch: Path, asked: str, source: str, hold: Optional[int], say: Say
) -> Tuple[Place, Dict[str, Any], List[str]]:
    """(where it was taken from, what is in it, what went wrong elsewhere), once all of it is in `scratch` and was
    compared. Raises Trouble with what speaks against each place."""
    failed: List[Trouble] = []
    for taken in places(config, asked, source, hold, say):
        say(f"restoring {taken.snapshot[:8]} from {taken.repository.at}")
        try:
            _room(taken, scratch)
            folder = prove.restored(taken.repository, taken.snapshot, scratch)
            document = prove.compare(folder, config.site, config.host, taken.manifest)
        except NoRoom:
            raise
        except Trouble as error:
            failed.append(error)
            say(f"{taken.repository.at}: {error.what}")
            continue
        told = [f"{error.what}; taken from {taken.repository.at} instead" for error in failed]
        for line in told:
            say(line)
        return taken, document, told
    raise Trouble("; ".join(error.what for error in failed), failed[0].where, failed[0].hint)


def _room(taken: Place, scratch: Path) -> None:
    """Raises NoRoom when the disk cannot take it, and a copy beside what is live: before anything is written."""
    size = int(json.loads(taken.repository.run("stats", "--json", taken.snapshot))["total_size"])
    room(scratch, size * 2, "free some space, or give another folder with --to")


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
