"""From the address in the site file to the source behind it."""

from __future__ import annotations

from pathlib import Path

from .errors import Refused
from .source import DirectorySource, Source


def from_address(address: str, timeout_s: float) -> Source:
    """The source behind an http(s) URL or an absolute path."""
    if address.startswith("/") and "\0" not in address:
        return DirectorySource(Path(address))
    if address.startswith(("http://", "https://")):
        from .web import HttpSource  # a local source needs no network code

        return HttpSource(address, timeout_s)
    raise Refused(f"{address!a} is neither an http(s) URL nor an absolute path")
