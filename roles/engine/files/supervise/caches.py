"""Compiled kernels: what a build recorded is brought to the colour's own folder, where the engine may write.

The build itself is never written to: an engine that damages its cache has only its own copy to lose.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Mapping

FOLDER = "cache"  # in a build


def bring(build: Path, record: Mapping[str, Any]) -> Path:
    """The folder for this build's kernels; filled from the build once, its older neighbours removed."""
    root = Path(os.environ.get("CACHE_DIRECTORY") or "/tmp/dsdeploy-engine")
    final = root / str(record["key"])
    if not final.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        partial = root / f"{record['key']}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        if (build / FOLDER).is_dir():
            shutil.copytree(build / FOLDER, partial, symlinks=True)
        else:
            partial.mkdir()
        partial.rename(final)
    for other in root.iterdir():
        if other != final:
            shutil.rmtree(other, ignore_errors=True)
    return final
