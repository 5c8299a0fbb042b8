"""A local repository with a damaged or missing pack: put aside what is bad, so that the next full makes it anew.

Without this restic believes its index: the bytes of a lost pack would never be written again, and every later
snapshot would refer to them.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Callable, List

from .files import digest, sync
from .restic import Repository


def damaged(repository: Path) -> List[str]:
    """Ids of packs that are not what they were: the id is the SHA-256 of the pack, so nobody need be asked."""
    return sorted(path.name for path in repository.glob("data/*/*") if digest(path) != path.name)


def repair(repository: Repository, aside: Path, say: Callable[[str], None]) -> List[str]:
    """Move damaged packs out of the repository, and let its index name only what is there. The packs' ids.

    Raises Trouble when the index cannot be built.
    """
    found = []
    for pack in damaged(Path(repository.address)):
        path = Path(repository.address) / "data" / pack[:2] / pack
        with contextlib.suppress(FileNotFoundError):
            aside.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.replace(str(path), str(aside / pack))
            sync(path.parent)
            found.append(pack)
            say(f"pack {pack[:12]} is damaged: moved to {aside}")
    repository.run("rebuild-index", "--read-all-packs")
    return found
