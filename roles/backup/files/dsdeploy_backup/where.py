"""The repositories of this host, with what is needed to reach them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from .config import Config
from .errors import USAGE, Trouble
from .ledger import Entry
from .restic import Repository

_SFTP = re.compile(
    r"sftp://(?:(?P<user>[a-z_][a-z0-9_-]*)@)?(?P<host>\[[0-9a-f:]+\]|[^/:\[]+)(?::(?P<port>\d+))?(?P<path>/.*)"
)


def local(config: Config, hold: Optional[int] = None) -> Repository:
    """The repository on this host's own disk. Raises Trouble without a password."""
    return Repository(config.repository, _password(config), limit=config.limit, hold=hold)


def offsite(config: Config, hold: Optional[int] = None) -> Optional[Repository]:
    """The one elsewhere: of this host alone, below the site's address. None where the site has none."""
    if not config.offsite:
        return None
    base = config.offsite.rstrip("/")
    cache = config.state / "cache"
    address = f"{base}/{config.host}"
    options: List[str] = []
    environment: Dict[str, str] = {}
    if base.startswith("sftp://"):
        address, options = _ssh(config, base)
    elif base.startswith("s3:"):
        # a path; the keys themselves stay in the file
        environment = {"AWS_SHARED_CREDENTIALS_FILE": str(config.secret("offsite"))}
    return Repository(address, _password(config), cache, tuple(options), environment, config.limit, hold,
                      f"the offsite repository {base}/{config.host}")  # fmt: skip


def refuse_lost(config: Config, away: Repository, entries: Sequence[Entry]) -> None:
    """Raises Trouble where an offsite repository was before: a disk that is not mounted is not begun anew."""
    if any(entry.offsite for entry in entries):
        hint = f"mount or bring it back; if it is lost: {_forget(config)}; then all is copied anew"
        raise Trouble("the offsite repository is gone", away.at, hint)


def anew(config: Config) -> str:
    """How an operator has everything copied again that is good here."""
    return (f"if its server is up: move that folder aside there, and keep it; here {_forget(config)};"
            " the next run copies all that is good here anew")  # fmt: skip


def _forget(config: Config) -> str:
    return f'sed -i \'/"event":"offsite/d\' {config.ledger}'


def _password(config: Config) -> Path:
    path = config.secret("password")
    if not path.is_file() or not path.stat().st_size:
        raise Trouble("the repository's password is not here", str(path), "dsdeploy up SITE puts it back", USAGE)
    return path


def _ssh(config: Config, base: str) -> Tuple[str, List[str]]:
    """restic's address and options for a server that we reach by SSH, with our own key, and that we know.

    Append-only: not SFTP, which could delete, but restic's own protocol through the SSH connection. What the server
    runs, and where the files lie, its authorized_keys says: command="rclone serve restic --stdio --append-only DIR".
    """
    found = _SFTP.fullmatch(base)
    if not found:
        raise Trouble("not an address of the form sftp://user@host:port/path", base, "mend backup.offsite", USAGE)
    target = (f"{found['user']}@" if found["user"] else "") + found["host"].strip("[]")
    words = ["ssh", "-p", found["port"] or "22", "-i", str(config.secret("offsite")), "-F", "none"]
    settings: Dict[str, str] = {
        "IdentitiesOnly": "yes", "BatchMode": "yes", "StrictHostKeyChecking": "yes", "ConnectTimeout": "20",
        "UserKnownHostsFile": str(config.secret("offsite_known_hosts")),
        "ServerAliveInterval": "15", "ServerAliveCountMax": "4",
    }  # fmt: skip
    for name, value in settings.items():
        words += ["-o", f"{name}={value}"]
    if config.append_only:
        return f"rclone:{config.host}", ["-o", f"rclone.program={shlex.join([*words, target, 'backup'])}"]
    return f"sftp:{target}:{found['path']}/{config.host}", [
        "-o",
        f"sftp.command={shlex.join([*words, target, '-s', 'sftp'])}",
    ]
