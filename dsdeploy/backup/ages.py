"""What `status` says of backups, their verification and logs: ages, and what went wrong last. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsdeploy.facts.kept import Kept
    from dsdeploy.site import Site

UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def columns(site: Site) -> tuple[str, ...]:
    """Heads of the columns that this site's status has beyond any other's."""
    return (*(("BACKUP", "VERIFIED") if site.backup else ()), *(("LOGS",) if site.logs else ()))


def cells(site: Site, kept: Kept | None) -> tuple[str, ...]:
    """A host's own, below them: `3h` since the newest good snapshot, `2d` since weights and builds, or a snapshot,
    were read back and good; `bad` where the last look at one of them found that they are not."""
    if kept is None:
        return tuple("-" for _ in columns(site))
    found: tuple[str, ...] = ()
    if site.backup:
        found = (short(kept.backup), "bad" if _bad(kept) else short(verified(kept)))
    return (*found, short(kept.logs)) if site.logs else found


def verified(kept: Kept) -> int | None:
    """Seconds since anything that is kept was last read back: files, all snapshots, or a rehearsal. None: never."""
    looks = (kept.read, kept.checked, kept.rehearsed)
    return min((one for one in looks if one is not None), default=None)


def warnings(site: Site, kept: Kept | None) -> Iterator[str]:
    """Sentences; a site without the sections has none. It serves nevertheless."""
    if kept is None:
        return
    if site.backup:
        if kept.backup is None:
            yield "backup: no good one yet: dsdeploy backup run SITE"
        if kept.backup_ok is False:
            yield "backup: the last run failed: journalctl -u dsdeploy-backup.service"
        if kept.offsite_missing:
            yield f"backup: {kept.offsite_missing} good snapshots are not offsite"
        if kept.checked_ok is False:
            yield "backup: the last verification found a bad snapshot or pack: dsdeploy backup list SITE"
        if kept.part_ok is False:
            yield "backup: a part of the repository was not whole when last read back: dsdeploy backup verify SITE"
        if kept.offsite_part_ok is False:
            yield "backup: the offsite copy was not whole when last read back: dsdeploy backup run SITE says more"
        if kept.rehearsed_ok is False:
            yield "backup: the last rehearsal of a restore failed: journalctl -u dsdeploy-rehearse.service"
        if kept.read_ok is False:
            yield f"verify: {kept.bad_files} files of weights and builds are not as they came: dsdeploy verify SITE"
    if site.logs and kept.logs_ok is False:
        yield "logs: the last rotation failed: journalctl -u dsdeploy-logs.service"


def short(seconds: int | None) -> str:
    """`45s`, `12m`, `5h`, `3d`: whole ones, rounded down. "never" for None."""
    if seconds is None:
        return "never"
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), UNITS[-1])
    return f"{seconds // size}{unit}"


def _bad(kept: Kept) -> bool:
    return False in (kept.read_ok, kept.checked_ok, kept.rehearsed_ok)
