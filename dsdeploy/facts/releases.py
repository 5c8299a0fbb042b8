"""The releases whose files are on a host, whether anything runs from them or not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact
from dsdeploy.facts.lines import document
from dsdeploy.facts.shell import sections

if TYPE_CHECKING:
    from dsdeploy.site import Site

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,200}")
_MOST = 32


@dataclass(frozen=True)
class ReleaseFiles:
    """One release. `manifest` and `settings` are its two files, empty when missing or unreadable.

    `build`, `runtime` and `weights` say whether what the release links to is there.
    """

    id: str
    manifest: dict[str, Any]
    settings: dict[str, Any]
    build: bool
    runtime: bool
    weights: bool

    @property
    def startable(self) -> bool:
        """All that a start needs is on the disk; not whether it is what it was."""
        return bool(self.manifest and self.settings) and self.build and self.runtime and self.weights


class Releases(dict[str, ReleaseFiles]):
    """By id; the 32 that changed last."""


class ReleasesFact(Fact[Releases]):
    value = Releases

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return {} if "engine" in site.hosts[host].roles else None

    def command(self) -> str:
        return rf"""
show() {{ [ -r "$1" ] && tr -d '\n' < "$1" | head -c 12288; echo; }}
cd /srv/dsdeploy/releases 2>/dev/null || exit 0
for d in $(ls -t | grep '^[0-9A-Za-z][0-9A-Za-z._-]*$' | grep -v '[.]partial$' | head -n {_MOST}); do
  [ -d "$d" ] || continue
  echo "== manifest $d"; show "$d/manifest.json"
  echo "== settings $d"; show "$d/engine.json"
  echo "== links $d"; for l in build runtime weights; do [ -e "$d/$l/." ] && echo $l; done
done
"""

    def process(self, output: list[str]) -> Releases:
        found = sections(output)
        names = [title[6:] for title in found if title.startswith("links ")]
        return Releases({name: _files(name, found) for name in sorted(names) if _ID.fullmatch(name)})


def _files(name: str, found: dict[str, list[str]]) -> ReleaseFiles:
    links = found[f"links {name}"]
    return ReleaseFiles(
        id=name,
        manifest=_first(found.get(f"manifest {name}")),
        settings=_first(found.get(f"settings {name}")),
        build="build" in links,
        runtime="runtime" in links,
        weights="weights" in links,
    )


def _first(lines: list[str] | None) -> dict[str, Any]:
    return document(lines[0]) if lines else {}
