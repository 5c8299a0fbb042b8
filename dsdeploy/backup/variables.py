"""What the roles `backup` and `logrotate` get. Nothing at all where the site file has no such section. Pure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from dsdeploy import paths
from dsdeploy.site import Site

Vars = dict[str, Any]


def every(site: Site) -> Vars:
    """The same on every host."""
    found: Vars = {}
    if backup := site.backup:
        secret, known = backup.offsite_secret, backup.offsite_known_hosts
        found |= {
            "backup_site": site.site,
            "backup_site_file": str(site.file),
            "backup_path": backup.path,
            "backup_offsite": backup.offsite or "",
            "backup_offsite_secret": str(secret) if secret else "",
            "backup_offsite_known_hosts": str(known) if known else "",
            "backup_append_only": backup.append_only,
            "backup_keep": backup.keep,
            "backup_keep_full": backup.keep_full,
            "backup_full_every": backup.full_every,
            "backup_when": backup.when,
            "backup_jitter_s": math.ceil(backup.jitter),
            "backup_rehearse": backup.rehearse,
            "backup_verify": backup.verify,
        }
    if logs := site.logs:
        found |= {
            "logrotate_when": logs.when,
            # rotation has a log twice for a moment: a larger one would push out all that is old, and then itself
            "logrotate_file_bytes": min(logs.file_size, logs.total // 4),
            "logrotate_keep": logs.keep,
            "logrotate_total_bytes": logs.total,
            "logrotate_journal_bytes": logs.journal,
        }
    return found


def host(site: Site, name: str) -> Vars:
    """A host's own: its name, and the file on this computer that holds its password."""
    if not site.backup:
        return {}
    return {"backup_host": name, "backup_password_file": str(key_file(site, name))}


def key_file(site: Site, name: str) -> Path:
    """Where a host's own password lies on this computer; `keys.write` makes it."""
    return paths.work_dir(site.file, site.site) / "backup" / "keys" / name
