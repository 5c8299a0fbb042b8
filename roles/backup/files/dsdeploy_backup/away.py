"""The copy elsewhere: brought there, read back in turn, let go of. What fails there is told, and costs nothing here."""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Sequence

from . import decide, judge, where
from .errors import Trouble
from .ledger import Entry

if TYPE_CHECKING:
    from .run import Backup


def copy(backup: "Backup") -> None:
    """Every good snapshot that is not there yet; what fails is told, and what is here stays."""
    try:
        away = where.offsite(backup.config, backup.hold)
        if away is None:
            return
        backup.offsite_ok = False
        here = where.local(backup.config, backup.hold)
        source = ("--from-repo", here.address, "--from-password-file", str(here.password))
        if not away.exists():
            where.refuse_lost(backup.config, away, backup.book.ordered())
            away.run("init", *source, "--copy-chunker-params")
        away.run("unlock")
        for entry in decide.best_offsite(backup.book.ordered()):
            away.run("copy", *source, entry.snapshot)
            found = [one["id"] for one in away.snapshots() if one.get("original") == entry.snapshot]
            if not found:
                raise Trouble(f"snapshot {entry.sequence} was copied, and is not there", away.at)
            backup.note("offsite", snapshot=entry.snapshot, **{"as": found[-1]})
        backup.offsite_ok = True
    except Trouble as error:
        backup.tell(f"not offsite: {error.what}" + (f"\n  try: {error.hint}" if error.hint else ""))


def read_part(backup: "Backup") -> None:
    """A part of what is there is read back, as here: a copy that nobody reads may have been lost long ago."""
    part = judge.turn(backup, "offsite_checked") if backup.offsite_ok else ""
    away = where.offsite(backup.config, backup.hold) if part else None
    if away is None:
        return
    try:
        away.run("check", f"--read-data-subset={part}")
        backup.offsite_read = True
    except Trouble as error:
        backup.offsite_read = False
        backup.tell(f"part {part} of {away.at} is not whole, or cannot be read: {error.what}\n"
                    f"  try: {where.anew(backup.config)}")  # fmt: skip
    backup.note("offsite_checked", ok=backup.offsite_read, turn=part)


def forget(backup: "Backup", entries: Sequence[Entry]) -> List[Entry]:
    """Those of these that need not be kept in mind for their copy's sake: it was removed now, or is not ours to
    remove. A server that is away removes nothing, so that their turn comes again. Raises Trouble."""
    if not backup.config.offsite or backup.config.append_only:
        return list(entries)
    away = where.offsite(backup.config, backup.hold) if backup.offsite_ok else None
    if away is None:
        return [entry for entry in entries if not entry.offsite]
    if copies := [entry.offsite for entry in entries if entry.offsite]:
        away.run("forget", *copies)
    return list(entries)


def prune(backup: "Backup") -> None:
    """Give back the room there of what was forgotten, where that is ours to do. Raises Trouble."""
    away = where.offsite(backup.config, backup.hold) if backup.offsite_ok and not backup.config.append_only else None
    if away:
        away.run("prune")
