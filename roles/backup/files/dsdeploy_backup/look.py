"""What there is, and whether it still is what it was: list, verify, and the monthly rehearsal."""

from __future__ import annotations

from typing import Any, Dict, List

from . import decide, ledger, prove, replay, where
from .alone import alone
from .config import Config
from .errors import DONE, FAILED, Trouble
from .files import remove
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
    newest = decide.newest([entry for entry in book.ordered() if entry.snapshot in there])
    return {
        "ok": not problem and newest is not None,
        "host": config.host,
        "newest": newest.snapshot if newest else None,
        "problem": problem,
        "unknown": unknown,
        "rehearsed": book.told.get("rehearsed"),
        "verified": book.told.get("verified"),
        "offsite": bool(config.offsite),
        "snapshots": [
            {**entry.__dict__, "state": entry.bad or ("good" if entry.snapshot in there else "not in the repository")}
            for entry in book.ordered()
        ],
    }


def verify(config: Config, say: Say) -> Dict[str, Any]:
    """Every snapshot restored and compared again, every pack read. Changes no snapshot, only what is known of them."""
    with alone(config.state / "lock", config.wait) as hold:
        backup = Backup(config, say, hold=hold)
        repository = where.local(config, hold)
        repository.run("unlock")
        try:
            wrong = backup.judge(repository)
        finally:
            remove(config.scratch)
        sound = backup.sound(repository)
        if not sound:
            backup.tell("the repository has damaged or missing packs; the next backup mends it and is a full one")
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
    by digest; ZooKeeper's data is replayed by a real ZooKeeper on the loopback address."""
    with alone(config.state / "lock", config.wait) as hold:
        backup = Backup(config, say, hold=hold)
        entry = decide.newest(backup.book.ordered())
        if entry is None:
            raise Trouble("there is no good snapshot to rehearse with", config.repository, "dsdeploy backup run SITE")
        away = where.offsite(config, hold) if entry.offsite else None
        repository = away or where.local(config, hold)
        played = ""
        try:
            try:
                folder = prove.restored(repository, entry.offsite if away else entry.snapshot, config.scratch)
                document = prove.compare(folder, config.site, config.host, entry.manifest)
                played = replay.all_members(folder, document, config)
            finally:
                remove(config.scratch)
        except Trouble as error:
            backup.note("rehearsed", ok=False, snapshot=entry.snapshot, why=error.what[:300])
            backup.looked()
            raise
        backup.note("rehearsed", ok=True, snapshot=entry.snapshot, offsite=bool(away))
        backup.looked()
    files = sum(len(part["files"]) for part in document["sets"].values())
    backup.tell(f"rehearsed from {repository.at}: {files} files as backed up{played}")
    return {"ok": True, "code": DONE, "host": config.host, "snapshot": entry.snapshot, "messages": backup.messages}
