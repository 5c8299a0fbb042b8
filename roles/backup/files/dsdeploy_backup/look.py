"""What there is, and whether it still is what it was: list, verify, and the monthly rehearsal."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, List, Tuple

from . import decide, judge, ledger, prove, replay, where
from .alone import alone, wait_for_switch
from .config import Config
from .errors import DONE, FAILED, Trouble
from .files import remove
from .restic import Repository
from .room import room
from .run import Backup, Say


def listing(config: Config) -> Dict[str, Any]:
    """The ledger beside what the repository really has; works without the repository too, and says so."""
    book = ledger.read(config.ledger)
    problem, there = "", set(book.entries)
    unknown: List[str] = []
    try:
        found = where.local(config).snapshots()
        there = {str(one["id"]) for one in found}
        unknown = decide.strangers(found, set(book.entries), book.begun)[1]
    except Trouble as error:
        problem = error.what
    if config.offsite and not problem and not (book.told.get("offsite_checked") or {"ok": True}).get("ok"):
        problem = "the offsite repository was not whole when it was last read back: dsdeploy backup run SITE tells more"
    newest = decide.newest([entry for entry in book.ordered() if entry.snapshot in there])
    return {
        "ok": not problem and newest is not None,
        "host": config.host,
        "newest": newest.snapshot if newest else None,
        "problem": problem,
        "unknown": unknown,
        **{event: book.told.get(event) for event in ledger.TOLD},
        "offsite": bool(config.offsite),
        "snapshots": [
            {**entry.__dict__, "state": entry.bad or ("good" if entry.snapshot in there else "not in the repository")}
            for entry in book.ordered()
        ],
    }


def verify(config: Config, say: Say) -> Dict[str, Any]:
    """Every snapshot restored and compared again, every pack read. Changes no snapshot, only what is known of them.

    Raises Trouble where that could not be done, as on a full disk: then nothing is known that was not known before.
    """
    with alone(config.state / "lock", config.wait) as hold:
        backup = Backup(config, say, hold=hold)
        repository = where.local(config, hold)
        repository.run("unlock")
        try:
            wrong = judge.judge(backup, repository)
        finally:
            remove(config.scratch)
        sound = judge.sound(repository)
        if not sound:
            backup.tell("the repository has damaged or missing packs; the next backup mends it and is a full one")
        backup.note("checked", ok=sound, turn=judge.ALL)
        unknown = backup.unknown()
        if unknown:
            backup.tell(f"{unknown} snapshots in the repository were made by no run of this host; they do not count")
        newest = decide.newest(backup.book.ordered())
        ok = not wrong and sound and newest is not None
        backup.note("verified", ok=ok, bad=len(wrong))
        backup.looked()
    if newest:
        backup.tell(f"newest good snapshot: {newest.sequence} ({newest.snapshot[:8]}) of {newest.at}")
    return {"ok": ok, "code": DONE if ok else FAILED, "host": config.host, "newest": newest and newest.snapshot,
            "bad": [entry.snapshot for entry in wrong], "messages": backup.messages}  # fmt: skip


def rehearse(config: Config, say: Say) -> Dict[str, Any]:
    """The newest good snapshot, taken from offsite where there is one, restored into a scratch folder and compared
    by digest; ZooKeeper's data is replayed by a real ZooKeeper on the loopback address. Whatever fails is noted: only
    what can be restored now can be restored when it is needed."""
    with alone(config.state / "lock", config.wait) as hold:
        wait_for_switch(config.runs, config.wait, say)
        backup = Backup(config, say, hold=hold)
        entry = decide.newest(backup.book.ordered())
        identity = entry.snapshot if entry else ""
        try:
            repository, files, played = _rehearsed(backup)
        except (Trouble, OSError) as error:
            with contextlib.suppress(OSError):  # a full disk takes no line either, and its own words tell more
                backup.note("rehearsed", ok=False, snapshot=identity, why=str(error)[:300])
            backup.looked()
            raise
        backup.note("rehearsed", ok=True, snapshot=identity, offsite=bool(entry and entry.offsite and config.offsite))
        backup.looked()
    backup.tell(f"rehearsed from {repository.at}: {files} files as backed up{played}")
    return {"ok": True, "code": DONE, "host": config.host, "snapshot": identity, "messages": backup.messages}


def _rehearsed(backup: Backup) -> Tuple[Repository, int, str]:
    """(where from, how many files, a sentence about ZooKeeper). Raises Trouble and OSError."""
    config = backup.config
    entry = decide.newest(backup.book.ordered())
    if entry is None:
        raise Trouble("there is no good snapshot to rehearse with", config.repository, "dsdeploy backup run SITE")
    away = where.offsite(config, backup.hold) if entry.offsite else None
    repository = away or where.local(config, backup.hold)
    room(config.scratch, entry.bytes)
    try:
        folder = prove.restored(repository, entry.offsite if away else entry.snapshot, config.scratch)
        document = prove.compare(folder, config.site, config.host, entry.manifest)
        played = replay.all_members(folder, document, config)
    finally:
        remove(config.scratch)
    return repository, sum(len(part["files"]) for part in document["sets"].values()), played
