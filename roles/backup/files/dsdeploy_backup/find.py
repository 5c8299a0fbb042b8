"""Which snapshot a restore takes, and from where; the next place when one cannot give it."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Tuple

from . import decide, ledger, lost, where
from .config import Config
from .errors import Trouble
from .restic import Repository
from .run import Say


class Place(NamedTuple):
    """A repository, the snapshot's id in it, and the digest of its list, "" where nobody remembers that."""

    repository: Repository
    snapshot: str
    manifest: str


def places(config: Config, asked: str, source: str, hold: Optional[int], say: Say) -> Iterator[Place]:
    """Where the snapshot is to be had, the nearest first. Raises Trouble naming what there is instead.

    A host that lost its ledger gets it back from its own repository. On a fresh one there is neither: then the
    snapshot offsite whose list says the highest number is taken.
    """
    here, away = _repositories(config, source, hold)
    if here:
        try:
            lost.relearn(config, here, say)
        except Trouble as error:
            if not away:
                raise
            say(f"{here.at}: {error.what}")
    book = ledger.read(config.ledger).ordered()
    entry, newest = decide.chosen(book, asked), decide.newest(book)
    had = newest if here else decide.newest([one for one in book if one.offsite])
    if entry:
        if here and entry.good:
            yield Place(here, entry.snapshot, entry.manifest)
        if away and entry.offsite:
            yield Place(away, entry.offsite, entry.manifest)
        elif not (here and entry.good):
            raise Trouble(f"snapshot {entry.sequence} is not good here ({entry.bad or 'no repository'}) and not"
                          " offsite", config.repository,
                          f"dsdeploy restore SITE {had.sequence}" if had else "")  # fmt: skip
    elif asked and book and source != "offsite":
        known = f"newest good one: {newest.sequence} ({newest.snapshot[:8]})" if newest else "there is no good one"
        raise Trouble(f"no snapshot {asked} here; {known}", config.repository, "dsdeploy backup list SITE")
    else:
        yield from _highest(config, asked, [one for one in (here, away) if one], say)


def _highest(config: Config, asked: str, repositories: List[Repository], say: Say) -> Iterator[Place]:
    """Of each the snapshot of this host with the highest number."""
    found, why = False, ""
    for repository in repositories:
        try:
            _, best = lost.highest(repository, config, asked)
        except Trouble as error:
            say(f"{repository.at}: {error.what}")
            why = f": {error.what}"
            continue
        if best:
            found = True
            yield Place(repository, best, "")
    if not found:
        raise Trouble(f"no snapshot of this host is to be found, here or offsite{why}", config.repository,
                      "dsdeploy backup list SITE; is backup.offsite the one it was made with?")  # fmt: skip


def _repositories(
    config: Config, source: str, hold: Optional[int]
) -> Tuple[Optional[Repository], Optional[Repository]]:
    """(here, offsite), each where it may be asked and there is one."""
    here = where.local(config, hold)
    there = source != "offsite" and (Path(here.address) / "config").exists()
    return here if there else None, where.offsite(config, hold) if source != "local" else None
