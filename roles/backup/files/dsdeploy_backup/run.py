"""One backup: stage, encrypt, prove, note, copy offsite, and only then let go of what is old."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from . import decide, ledger, lost, metrics, prove, repair, stage, where
from .alone import alone, wait_for_switch
from .config import Config
from .errors import DONE, ELSEWHERE, Trouble
from .files import digest, remove
from .ledger import Entry
from .restic import Repository

Say = Callable[[str], None]


@dataclass
class Backup:
    """What one run does and has found out. `messages` go to the operator as they are."""

    config: Config
    say: Say
    full: bool = False
    hold: Optional[int] = None
    started: float = field(default_factory=time.monotonic)
    messages: List[str] = field(default_factory=list)
    entry: Optional[Entry] = None
    offsite_ok: Optional[bool] = None
    slice_ok: bool = True

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
        try:
            self.entry = self.attempt(repository, book.sequence + 1, kind)
        except Trouble as error:
            if error.code == 75 or self.sound(repository):
                raise
            self.tell(f"the new snapshot is not good ({error.what}): mending the local repository")
            repair.repair(repository, self.config.state / "damaged-packs", self.tell)
            self.judge(repository)
            self.entry = self.attempt(repository, self.book.sequence + 1, "full")
            self.forget_bad(repository)

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
        sizes = [one.get("size", 0) for part in document["sets"].values() for one in part["files"].values()]
        for warning in document["warnings"]:
            self.tell(warning)
        entry = Entry(sequence, snapshot, kind, ledger.now(), sum(sizes), len(sizes), listed,
                      warnings=len(document["warnings"]))  # fmt: skip
        self.note("proven", **entry.__dict__)
        return entry

    def sound(self, repository: Repository) -> bool:
        """Whether a full read finds nothing wrong: then what failed was not the repository."""
        return repository.call(("check", "--read-data"))[0] == 0

    def judge(self, repository: Repository) -> List[Entry]:
        """Prove every snapshot again; those that are not what they were are marked. The bad ones."""
        there = {one["id"] for one in repository.snapshots()}
        wrong = []
        for entry in self.book.ordered():
            why = "" if entry.snapshot in there else "it is not in the repository any more"
            try:
                if not why:
                    prove.proven(repository, entry.snapshot, self.config.scratch, self.config.site, self.config.host,
                                 entry.manifest)  # fmt: skip
            except Trouble as error:
                why = error.what.splitlines()[0][:300]
            if why:
                wrong.append(entry)
                if entry.good:
                    self.note("bad", snapshot=entry.snapshot, why=why)
                self.tell(f"snapshot {entry.sequence} ({entry.snapshot[:8]}) is bad: {why}")
            elif not entry.good:
                self.note("good", snapshot=entry.snapshot)
        return wrong

    def forget_bad(self, repository: Repository) -> None:
        """What cannot be restored here any more, once a newer full is good: it would make every check fail. A copy
        offsite stays, and stays in the ledger."""
        book = self.book
        there = {str(one["id"]) for one in repository.snapshots()}
        gone = [one for one in decide.forget(book.ordered(), 10**6, 10**6, False) if not one.good]
        if here := [one.snapshot for one in gone if one.snapshot in there]:
            repository.run("forget", *here)
        for one in gone:
            if not one.offsite:
                self.note("forgotten", snapshot=one.snapshot)

    def read_slice(self) -> None:
        """After a full: its turn of all packs is read back, so that old ones are seen too."""
        if self.entry is None or self.entry.kind != "full":
            return
        repository = where.local(self.config, self.hold)
        turn = decide.part(self.book.fulls - 1, self.config.slices)
        code, said, wrong = repository.call(("check", f"--read-data-subset={turn}"))
        if code != 0:
            self.slice_ok = False
            self.tell(f"part {turn} of the repository is damaged: {(wrong or said).strip().splitlines()[-1]}")
            repair.repair(repository, self.config.state / "damaged-packs", self.tell)
            self.judge(repository)
            if not self.book.entries[self.entry.snapshot].good:
                self.entry = self.attempt(repository, self.book.sequence + 1, "full")
            self.forget_bad(repository)

    def copy_offsite(self) -> None:
        """Every good snapshot that is not there yet; what fails is told, and what is here stays."""
        try:
            away = where.offsite(self.config, self.hold)
            if away is None:
                return
            self.offsite_ok = False
            here = where.local(self.config, self.hold)
            source = ("--from-repo", here.address, "--from-password-file", str(here.password))
            if not away.exists():
                where.refuse_lost(self.config, away, self.book.ordered())
                away.run("init", *source, "--copy-chunker-params")
            away.run("unlock")
            for entry in decide.best_offsite(self.book.ordered()):
                away.run("copy", *source, entry.snapshot)
                found = [one["id"] for one in away.snapshots() if one.get("original") == entry.snapshot]
                if not found:
                    raise Trouble(f"snapshot {entry.sequence} was copied, and is not there", away.at)
                self.note("offsite", snapshot=entry.snapshot, **{"as": found[-1]})
            self.offsite_ok = True
        except Trouble as error:
            self.tell(f"not offsite: {error.what}" + (f"\n  try: {error.hint}" if error.hint else ""))

    def let_go(self) -> None:
        """Retention, here and, where the server lets us, offsite; and what killed runs left. Failing is no harm."""
        config = self.config
        book = self.book
        try:
            here = where.local(config, self.hold)
            self.forget_bad(here)
            wanted = decide.forget(book.ordered(), config.keep, config.keep_full, bool(config.offsite))
            gone = [entry for entry in wanted if entry.good]
            ours, _ = decide.strangers(here.snapshots(), set(book.entries), book.begun)
            if gone or ours:
                here.run("forget", *[entry.snapshot for entry in gone], *ours)
            away = where.offsite(config, self.hold) if not config.append_only and self.offsite_ok else None
            copies = [entry.offsite for entry in gone if entry.offsite]
            if away and copies:
                away.run("forget", *copies)
            for entry in gone:
                self.note("forgotten", snapshot=entry.snapshot)
            if self.entry and self.entry.kind == "full":
                here.run("prune")
                if away:
                    away.run("prune")
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
            backup.read_slice()
            backup.copy_offsite()
            backup.let_go()
        finally:
            backup.ended()
    entry = backup.entry
    assert entry is not None
    code = DONE if backup.slice_ok and backup.offsite_ok is not False else ELSEWHERE if backup.slice_ok else 1
    return {
        "ok": code == DONE, "code": code, "host": config.host, "snapshot": entry.snapshot, "sequence": entry.sequence,
        "kind": entry.kind, "bytes": entry.bytes, "files": entry.files, "offsite": backup.offsite_ok,
        "messages": backup.messages,
    }  # fmt: skip
