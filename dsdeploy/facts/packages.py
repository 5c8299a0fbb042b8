"""Who holds the package manager's lock, so that an install would wait or fail."""

from __future__ import annotations

from dataclasses import dataclass

from dsdeploy.facts.fact import Fact, number


@dataclass(frozen=True)
class PackageLock:
    """`holder` is the program's name; "" and pid None when nobody holds it."""

    held: bool
    holder: str = ""
    pid: int | None = None
    path: str = ""


class PackageLockFact(Fact[PackageLock]):
    """fuser and lslocks may be missing, so: who has a write lock on anything, and is it one of these.

    The file is compared through the holder's open descriptors, not by inode: on an overlay file
    system (a container) /proc/locks and stat give different numbers.
    """

    value = PackageLock

    def command(self) -> str:
        return r"""
sed -n 's/.* WRITE *\([0-9][0-9]*\) .*/\1/p' /proc/locks | sort -u | while read -r pid; do
  for fd in /proc/"$pid"/fd/*; do
    file=$(readlink "$fd") || continue
    case $file in
      /var/lib/dpkg/lock-frontend|/var/lib/dpkg/lock|/var/lib/apt/lists/lock|\
      /var/cache/apt/archives/lock|/var/lib/rpm/.rpm.lock|/usr/lib/sysimage/rpm/.rpm.lock)
        echo "$pid $file $(cat /proc/"$pid"/comm)" ;;
    esac
  done
done
for f in /run/yum.pid /var/run/yum.pid; do
  [ -r $f ] && read -r pid < $f && [ -d /proc/"$pid" ] && echo "$pid $f $(cat /proc/"$pid"/comm)"
done
"""

    def process(self, output: list[str]) -> PackageLock:
        for line in output:
            pid, _, rest = line.partition(" ")
            path, _, holder = rest.partition(" ")
            if number(pid) is not None and path.startswith("/"):
                return PackageLock(True, holder.strip() or "unknown", number(pid), path)
        return PackageLock(held=False)
