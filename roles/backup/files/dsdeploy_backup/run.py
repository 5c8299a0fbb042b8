"""One backup: stage, encrypt, prove, note, copy offsite, and only then let go of what is old."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from . import away, decide, judge, ledger, lost, metrics, prove, repair, stage, where
from .alone import alone, wait_for_switch
from .config import Config
from .errors import DONE, ELSEWHERE, FAILED, Hindered, Trouble
from .files import digest, remove
from .ledger import Entry
from .restic import Repository
from .room import room

Say = Callable[[str], None]


@dataclass
class Backup:
    """What one run does and has found out; None: it had nothing to do there. `messages` go to the operator as they
    are."""

    config: Config
    say: Say
    full: bool = False
    hold: Optional[int] = None
    started: float = field(default_factory=time.monotonic)
    messages: List[str] = field(default_factory=list)
    entry: Optional[Entry] = None
    offsite_ok: Optional[bool] = None
    slice_ok: Optional[bool] = None
    offsite_read: Optional[bool] = None

    def tell(self, text: str) -> None:
        self.messages.append(text)
        self.say(text)

    @property
    def book(self) -> ledger.Ledger:
        return ledger.read(self.config.ledger)

    def note(self, event: str, **values: Any) -> None:
        ledger.append(self.config.ledger, event, **values)

    def make(self) -> None:
        """A proven snapshot, noted in the ledger. Raises Trouble; then nothing that was proven has changed."""
        repository = self.opened()
        lost.remember(self.config, repository, where.offsite(self.config, self.hold), self.tell)
        book = self.book
        kind = "full" if self.full else decide.kind(book.ordered(), self.config.full_every)
        last = decide.newest(book.ordered())
        room(self.config.staging, 2 * last.bytes if last else 0)  # what is staged is restored once more, to compare
        try:
            self.entry = self.attempt(repository, book.sequence + 1, kind)
        except Trouble as error:
            if isinstance(error, Hindered) or judge.sound(repository):
                raise
            self.tell(f"the new snapshot is not good ({error.what}): mending the local repository")
            repair.repair(repository, self.config.state / "damaged-packs", self.tell)
            judge.judge(self, repository)
            self.entry = self.attempt(repository, self.book.sequence + 1, "full")
            judge.forget_bad(self, repository)

    def opened(self) -> Repository:
        """The local repository, made on the first run. Raises Trouble when one that was there is gone."""
        repository = where.local(self.config, self.hold)
        if not repository.exists():
            if self.book.entries:
                raise Trouble("the local repository is gone, but not what it held", repository.address,
                              f"mount or bring it back; if it is lost: mv {self.config.ledger}{{,.lost}},"
                              " then a new one is begun, and what is offsite stays there")  # fmt: skip
            Path(repository.address).mkdir(parents=True, exist_ok=True, mode=0o700)
            repository.run("init")
            self.tell(f"made the repository {repository.address}")
        repository.run("unlock")
        return repository

    def attempt(self, repository: Repository, sequence: int, kind: str) -> Entry:
        """Stage, back up, restore and compare, note. Raises Trouble, also when the proof fails."""
        token = secrets.token_hex(8)
        document = stage.stage(self.config, sequence, kind)
        sizes = [one.get("size", 0) for part in document["sets"].values() for one in part["files"].values()]
        room(self.config.scratch, sum(sizes))
        self.note("begin", sequence=sequence, token=token)
        listed = digest(self.config.staging / stage.MANIFEST)
        # the copies are made anew each time; times and sizes are the originals', so that unchanged ones are not read
        words = ["--force"] if kind == "full" else ["--ignore-inode", "--ignore-ctime"]
        said = repository.run("backup", "--json", "--host", self.config.host, *words, "--tag", f"{kind},token-{token}",
                              stage.MANIFEST, stage.SETS, cwd=self.config.staging)  # fmt: skip
        short = json.loads(said.strip().splitlines()[-1])["snapshot_id"]
        snapshot = next(one["id"] for one in repository.snapshots() if one["id"].startswith(short))
        self.say(f"snapshot {short} ({kind}): restoring it, to compare")
        prove.proven(repository, snapshot, self.config.scratch, self.config.site, self.config.host, listed)
        for warning in document["warnings"]:
            self.tell(warning)
        entry = Entry(sequence, snapshot, kind, ledger.now(), sum(sizes), len(sizes), listed,
                      warnings=len(document["warnings"]))  # fmt: skip
        self.note("proven", **entry.__dict__)
        return entry

    def let_go(self) -> None:
        """Retention, offsite and here; and what killed runs left. Only what was removed is forgotten, and failing is
        no harm."""
        config, book = self.config, self.book
        try:
            here = where.local(config, self.hold)
            judge.forget_bad(self, here)
            wanted = decide.forget(book.ordered(), config.keep, config.keep_full, bool(config.offsite))
            gone = away.forget(self, [entry for entry in wanted if entry.good])
            ours, _ = decide.strangers(here.snapshots(), set(book.entries), book.begun)
            if gone or ours:
                here.run("forget", *[entry.snapshot for entry in gone], *ours)
            for entry in gone:
                self.note("forgotten", snapshot=entry.snapshot)
            if self.entry and self.entry.kind == "full":
                here.run("prune")
                away.prune(self)
        except Trouble as error:
            self.tell(f"what is old could not be removed: {error.what}")

    def unknown(self) -> int:
        book = self.book
        return len(decide.strangers(where.local(self.config, self.hold).snapshots(), set(book.entries), book.begun)[1])

    def looked(self) -> None:
        """The metrics of the last run, with those of the look at it."""
        metrics.amend(self.config.metrics, self.config, self.book)

    def ended(self) -> None:
        """Metrics, whatever happened; and nothing in clear left behind."""
        for folder in (self.config.staging, self.config.scratch):
            remove(folder)
        try:
            unknown = self.unknown()
        except Trouble:
            unknown = 0
        outcome = {
            "proven": self.entry is not None,
            "offsite": self.offsite_ok,
            "seconds": time.monotonic() - self.started,
        }
        if problem := metrics.write(self.config.metrics, metrics.values(self.config, self.book, unknown, outcome)):
            self.tell(problem)
        if unknown:
            self.tell(f"{unknown} snapshots in the repository were made by no run of this host; they do not count")


def run(config: Config, say: Say, full: bool = False) -> Dict[str, Any]:
    """The result document; `code` is the exit code. Raises Trouble when no new snapshot was proven."""
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone(config.state / "lock", config.wait) as hold:
        backup = Backup(config, say, full, hold)
        wait_for_switch(config.runs, config.wait, say)
        try:
            backup.make()
            judge.read_part(backup)
            away.copy(backup)
            away.read_part(backup)
            backup.let_go()
        finally:
            backup.ended()
    entry = backup.entry
    assert entry is not None
    elsewhere = False in (backup.offsite_ok, backup.offsite_read)
    code = FAILED if backup.slice_ok is False else ELSEWHERE if elsewhere else DONE
    return {
        "ok": code == DONE, "code": code, "host": config.host, "snapshot": entry.snapshot, "sequence": entry.sequence,
        "kind": entry.kind, "bytes": entry.bytes, "files": entry.files, "offsite": backup.offsite_ok,
        "read_back": backup.slice_ok, "offsite_read_back": backup.offsite_read,
        "messages": backup.messages,
    }  # fmt: skip
