"""Each host's own password, made from the site's: what one host knows opens no other's snapshots."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path

from dsdeploy.backup.variables import key_file
from dsdeploy.errors import PreflightError, Problem
from dsdeploy.site import Site

SHORTEST = 20


def derived(password: bytes, site: str, host: str) -> str:
    """64 hex digits: HMAC-SHA-256 of `dsdeploy backup <site>/<host>`. It must never change: old snapshots need it."""
    return hmac.new(password, f"dsdeploy backup {site}/{host}".encode(), hashlib.sha256).hexdigest()


def problems(site: Site) -> list[Problem]:
    """Secrets that are missing, short, or readable by others on this computer."""
    backup, found = site.backup, []
    if backup is None:
        return []
    wanted = [("password_file", backup.password_file), ("offsite_secret", backup.offsite_secret)]
    for name, path in [(name, path) for name, path in wanted if path]:
        where = f"{site.file.name}: backup.{name}"
        if not path.is_file():
            found.append(Problem(f"{path} is not there", where, _cure(name, path)))
        elif stat.S_IMODE(path.stat().st_mode) & 0o077:
            found.append(Problem(f"{path} can be read by others on this computer", where, f"chmod 600 {path}"))
    if not found and len(_password(backup.password_file)) < SHORTEST:
        what = f"the password in {backup.password_file} has fewer than {SHORTEST} characters"
        found.append(
            Problem(what, f"{site.file.name}: backup.password_file", _cure("password_file", backup.password_file))
        )
    known = backup.offsite_known_hosts
    if (backup.offsite or "").startswith("sftp://") and not (known and known.is_file()):
        hint = "ssh-keyscan HOST > vault_known_hosts, compare it with the server's own, and name it there"
        found.append(
            Problem("an SFTP server needs its host keys", f"{site.file.name}: backup.offsite_known_hosts", hint)
        )
    return found


def write(site: Site) -> None:
    """The files that the role copies, one a host, mode 0600. Raises PreflightError with every problem."""
    if site.backup is None:
        return
    if wrong := problems(site):
        raise PreflightError(wrong)
    password = _password(site.backup.password_file)
    for name in site.hosts:
        path = key_file(site, name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(derived(password, site.site, name))


def _password(path: Path) -> bytes:
    return path.read_bytes().strip()


def _cure(name: str, path: Path) -> str:
    if name == "password_file":
        return f"(umask 077; head -c 32 /dev/urandom | base64 > {path}); keep a copy of it where the site is not"
    return f"put the key there, mode 0600: {path}"
