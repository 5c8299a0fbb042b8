"""Secrets that a site file names: what must not leave this computer, however it is spelled there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dsdeploy import monitoring

if TYPE_CHECKING:
    from dsdeploy.site import Site

PATH = 16  # characters from which a webhook's path is one that nobody else's is part of


def known(site: Site) -> list[str]:
    """Passwords, keys, and the address alerts are sent to: whoever has that can send them, too."""
    return [*_webhook(site), *(word for path in _files(site) for word in _words(path))]


def _webhook(site: Site) -> Iterator[str]:
    url = site.monitor.webhook if site.monitor else None
    if url:
        parts = urlsplit(url)
        yield url
        if len(parts.path) >= PATH:
            yield parts.path
        if parts.query:
            yield parts.query


def _files(site: Site) -> list[Path]:
    named = [site.backup.password_file, site.backup.offsite_secret] if site.backup else []
    return [monitoring.password_file(site), *(path for path in named if path)]


def _words(path: Path) -> Iterator[str]:
    """A file's text, each of its lines, and what stands behind an equals sign; nothing for one that is not there."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return
    yield text
    for line in text.splitlines():
        if not line.startswith(("-----", "[", "#")):  # heads of keys and sections are no secrets
            yield line.strip()
            yield line.partition("=")[2].strip()
