"""Where shipped data lies, and where a site's generated files go."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "_data"
DATA = _SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent  # wheel, else checkout

PLAYBOOKS = DATA / "playbooks"
ROLES = DATA / "roles"
TEMPLATES = DATA / "templates"


def work_dir(site_file: Path, site_name: str) -> Path:
    """`.dsdeploy/<site>/` beside the site file: inventory, runs, logs. Made on demand, private."""
    path = site_file.resolve().parent / ".dsdeploy" / site_name
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def cache_dir(name: str) -> Path:
    """A folder that may be deleted at any time: downloaded wheels, lab images."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = root / "dsdeploy" / name
    path.mkdir(parents=True, exist_ok=True)
    return path
