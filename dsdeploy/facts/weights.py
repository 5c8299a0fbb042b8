"""Which weights are on a host, and how far a pull is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from dsdeploy.facts.fact import Fact, number
from dsdeploy.facts.shell import sections

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Stamp:
    """One version of a model on a host. Sizes in bytes, of file contents, not of blocks.

    `verified` means stamped, in place, and still of the stamped size; it does not read the files.
    `partial` is what a pull has brought so far, None when none is under way; `progress` is its own
    word on it: phase, bytes_done, bytes_total, file, rate, updated_at. `strays` lie among the files and
    stand in no stamp.
    """

    model: str
    version: str
    digest: str
    bytes: int
    verified_at: str
    size: int | None
    partial: int | None
    progress: dict[str, Any] | None
    bad: tuple[str, ...] = ()  # files a verification found wrong, not repaired yet
    strays: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        return bool(self.digest) and self.size == self.bytes and not self.bad


class Weights(dict[str, Stamp]):
    """By `model/version`."""


class WeightsFact(Fact[Weights]):
    value = Weights

    def command(self) -> str:
        # a stamp also lists every file, about 250 bytes each: 256 KiB is room for a thousand shards
        return r"""
files() { find "$1" -type f -printf '%s\n' 2>/dev/null | awk '{ s += $1 } END { printf "%.0f\n", s }'; }
show() { [ -r "$1" ] && tr -d '\n' < "$1" | head -c 262144 && echo; }
cd /var/lib/dsdeploy/weights 2>/dev/null && for f in */*.json */*.progress; do
  [ -f "$f" ] && echo "== ${f%.*}" && echo "${f##*.} $(show "$f")"
done
cd /srv/dsdeploy/weights 2>/dev/null && for d in */*/; do
  d=${d%/}
  case $d in
    '*/*') ;;
    *.partial) echo "== ${d%.partial}"; echo "partial $(files "$d")" ;;
    *) echo "== $d"; echo "size $(files "$d")"; find "$d" -type f -printf 'file %P\n' | head -n 4096 ;;
  esac
done
"""

    def process(self, output: list[str]) -> Weights:
        found = Weights()
        for name, lines in sections(output).items():
            if _NAME.fullmatch(name):
                there = [line[5:] for line in lines if line.startswith("file ")]
                found[name] = _stamp(name, dict(line.split(" ", 1) for line in lines if " " in line), there)
        return found


def _stamp(name: str, parts: dict[str, str], there: list[str]) -> Stamp:
    model, _, version = name.partition("/")
    stamp = _object(parts.get("json", "")) or {}
    size = stamp.get("bytes")
    return Stamp(
        model=model,
        version=version,
        digest=str(stamp.get("digest", "")),
        bytes=size if isinstance(size, int) else 0,
        verified_at=str(stamp.get("verified_at", "")),
        size=number(parts.get("size", "")),
        partial=number(parts.get("partial", "")),
        progress=_object(parts.get("progress", "")),
        bad=tuple(str(path) for path in bad) if isinstance(bad := stamp.get("bad"), list) else (),
        strays=_strays(stamp.get("files"), there),
    )


def _strays(listed: object, there: list[str]) -> tuple[str, ...]:
    """Names that a stamp does not have; none where its list could not be read."""
    known = {str(one.get("path")) for one in listed if isinstance(one, dict)} if isinstance(listed, list) else set()
    return tuple(sorted(set(there) - known)) if known else ()


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
