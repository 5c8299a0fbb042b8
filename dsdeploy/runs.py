"""A run's own folder: `.dsdeploy/<site>/runs/<time>-<verb>/`, private to the operator."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from dsdeploy import journal, paths

if TYPE_CHECKING:
    from dsdeploy.site import Site

KEPT = 50  # run folders, where the site file does not say (logs.runs); each is a few hundred kilobytes


@dataclass(frozen=True)
class Run:
    """Where one command keeps its inventory, event streams and logs."""

    id: str
    folder: Path

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yml"

    def events(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def new(site: Site, verb: str) -> Run:
    """Make the folder of a new run; the id sorts by time and is unique on this controller."""
    root = paths.work_dir(site.file, site.site) / "runs"
    root.mkdir(exist_ok=True, mode=0o700)
    run_id = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S}-{os.getpid()}-{verb}"
    folder = root / run_id
    folder.mkdir(mode=0o700)
    _forget_old(root, site.logs.runs if site.logs else KEPT)
    return Run(run_id, folder)


def again(site: Site, run_id: str) -> Run:
    """The folder of a run that is taken up again; made anew where another computer began it."""
    folder = paths.work_dir(site.file, site.site) / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Run(run_id, folder)


def newest(site: Site) -> Run | None:
    """The run begun last on this computer; None when there is none. Ids sort by time."""
    root = paths.work_dir(site.file, site.site) / "runs"
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    return Run(folders[-1].name, folders[-1]) if folders else None


def _forget_old(root: Path, kept: int) -> None:
    """The newest stay, and the last that was begun and has not ended: resume, abort and rollback go by its journal."""
    olds = sorted(entry for entry in root.iterdir() if entry.is_dir())[:-kept]
    spared = [old for old in olds if _unfinished(old)][-1:]
    for old in olds:
        if old not in spared:
            shutil.rmtree(old, ignore_errors=True)


def _unfinished(folder: Path) -> bool:
    records = journal.read(folder / journal.NAME)
    return bool(records) and records[-1].get("kind") != "end"
