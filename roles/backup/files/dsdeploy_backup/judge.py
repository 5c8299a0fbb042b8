"""Whether snapshots still are what they were, and the repository whole: read again, and noted.

A snapshot is marked bad only by its own bytes: they were compared and differ, or restic cannot give them and finds its
repository damaged. A full disk, a time limit or a killed restic is an error of the look, and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Optional

from . import decide, prove, repair, where
from .errors import Hindered, Mismatch, Trouble
from .ledger import Entry
from .restic import Repository
from .room import room

if TYPE_CHECKING:
    from .run import Backup

ALL = "1/1"  # as a part: the whole repository


def sound(repository: Repository) -> bool:
    """Whether a full read finds nothing wrong: then what failed was not the repository. Raises Hindered when it could
    not be read to its end."""
    code, said, wrong = repository.call(("check", "--read-data"))
    if code == 0:
        return True
    trouble = repository.trouble(("check",), code, said, wrong)
    if isinstance(trouble, Hindered):
        raise trouble
    return False


def judge(backup: "Backup", repository: Repository) -> List[Entry]:
    """Prove every snapshot again; those that are not what they were are marked. The bad ones. Raises Trouble where
    nobody can tell; what was found until then is noted."""
    there = {one["id"] for one in repository.snapshots()}
    whole: Optional[bool] = None
    wrong = []
    for entry in backup.book.ordered():
        why = "" if entry.snapshot in there else "it is not in the repository any more"
        try:
            if not why:
                room(backup.config.scratch, entry.bytes)
                prove.proven(repository, entry.snapshot, backup.config.scratch, backup.config.site, backup.config.host,
                             entry.manifest)  # fmt: skip
        except Hindered:
            raise
        except Trouble as error:
            if not isinstance(error, Mismatch):
                whole = sound(repository) if whole is None else whole
                if whole:
                    raise
            why = error.what.splitlines()[0][:300]
        if why:
            wrong.append(entry)
            if entry.good:
                backup.note("bad", snapshot=entry.snapshot, why=why)
            backup.tell(f"snapshot {entry.sequence} ({entry.snapshot[:8]}) is bad: {why}")
        elif not entry.good:
            backup.note("good", snapshot=entry.snapshot)
    return wrong


def forget_bad(backup: "Backup", repository: Repository) -> None:
    """What cannot be restored here any more, once a newer full is good: it would make every check fail. A copy
    offsite stays, and stays in the ledger."""
    there = {str(one["id"]) for one in repository.snapshots()}
    gone = [one for one in decide.forget(backup.book.ordered(), 10**6, 10**6, False) if not one.good]
    if here := [one.snapshot for one in gone if one.snapshot in there]:
        repository.run("forget", *here)
    for one in gone:
        if not one.offsite:
            backup.note("forgotten", snapshot=one.snapshot)


def turn(backup: "Backup", event: str) -> str:
    """Which part of all packs is to be read back now: the one that was not whole when it was last read, until it is;
    after a full, and where none was ever read, the next in turn. "" for none."""
    last = backup.book.told.get(event) or {}
    if last and not last.get("ok"):
        return str(last.get("turn") or ALL)
    if backup.entry is None or (last and backup.entry.kind != "full"):
        return ""
    return decide.part(backup.book.fulls - 1, backup.config.slices)


def read_part(backup: "Backup") -> None:
    """A part of the local repository is read back, so that old packs are seen too; what is damaged is mended.

    Raises Trouble when the newest snapshot was hit and cannot be made anew.
    """
    part = turn(backup, "checked")
    if not part or backup.entry is None:
        return
    repository = where.local(backup.config, backup.hold)
    code, said, wrong = repository.call(("check", f"--read-data-subset={part}"))
    backup.slice_ok = code == 0
    backup.note("checked", ok=code == 0, turn=part)
    if code == 0:
        return
    trouble = repository.trouble(("check",), code, said, wrong)
    if isinstance(trouble, Hindered):
        backup.tell(f"part {part} of the repository could not be read back: {trouble.what}")
        return
    backup.tell(f"part {part} of the repository is damaged: {(wrong or said).strip().splitlines()[-1]}")
    repair.repair(repository, backup.config.state / "damaged-packs", backup.tell)
    judge(backup, repository)
    if not backup.book.entries[backup.entry.snapshot].good:
        backup.entry = backup.attempt(repository, backup.book.sequence + 1, "full")
    forget_bad(backup, repository)
