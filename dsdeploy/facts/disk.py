"""Room on the file systems dsdeploy writes to."""

from __future__ import annotations

from dataclasses import dataclass

from dsdeploy.facts.fact import Fact, number
from dsdeploy.facts.shell import sections


@dataclass(frozen=True)
class Disk:
    """Bytes on the file system that holds `path`; `free` is what an ordinary user can still write.

    `free_inodes` is None where the file system makes inodes as it needs them (btrfs, ZFS).
    """

    path: str
    mount: str
    total: int
    free: int
    free_inodes: int | None


class Disks(dict[str, Disk]):
    """`/srv` (weights, builds, releases) and `/var` (state, logs)."""


class DisksFact(Fact[Disks]):
    value = Disks

    def command(self) -> str:
        # dsdeploy's own folder may be a mount of its own below /srv or /var
        return """
for p in /srv/dsdeploy /var/lib/dsdeploy; do
  d=$p; while [ ! -d "$d" ]; do d=$(dirname "$d"); done
  case $p in /srv/*) n=/srv ;; *) n=/var ;; esac
  echo "== $n"; df -PB1 "$d" | tail -n 1; df -Pi "$d" | tail -n 1
done
"""

    def process(self, output: list[str]) -> Disks:
        found = Disks()
        for path, lines in sections(output).items():
            rows = [line.split(None, 5) for line in lines]
            if len(rows) < 2 or any(len(row) < 6 for row in rows):
                continue
            (_, total, _, free, _, mount), (_, inodes, _, free_inodes, _, _) = rows[0], rows[1]
            found[path] = Disk(
                path=path,
                mount=mount,
                total=number(total) or 0,
                free=number(free) or 0,
                free_inodes=number(free_inodes) if number(inodes) else None,
            )
        return found
