#!/usr/bin/python3
"""Kernel memory settings: read what is so, write what should be, read it back.

One file, two uses: the role module ``kernel_settings`` imports it while Ansible runs, and the unit
``dsdeploy-thp.service`` runs it at every boot. Standard library only, Python >= 3.8.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import asdict, dataclass, field
from typing import Callable, Dict, List, Optional

THP = "sys/kernel/mm/transparent_hugepage"
NR_HUGEPAGES = "proc/sys/vm/nr_hugepages"
PAGE_KB = 2048
# what the kernel keeps for itself and for everything already running when a pool of huge pages grows
RESERVE_KB = 512 * 1024

# enabled -> (defrag, khugepaged/defrag); `always` keeps the kernel's own defrag: nobody wants a stall on every fault
THP_COMPANIONS = {"never": ("never", "0"), "madvise": ("madvise", "1"), "always": ("madvise", "1")}


@dataclass
class Knob:
    """One setting: ``outcome`` is kept, applied, skipped or failed; ``reason`` says why for the last two."""

    name: str
    wanted: str
    before: str
    after: str
    outcome: str
    reason: str = ""


@dataclass
class Report:
    """What happened to every knob that was looked at."""

    knobs: List[Knob] = field(default_factory=list)

    def names(self, outcome: str) -> List[str]:
        """The knobs that ended as `outcome`, each with its reason where it has one."""
        return [k.name + (": " + k.reason if k.reason else "") for k in self.knobs if k.outcome == outcome]

    def values(self, side: str) -> Dict[str, str]:
        """Knob name to value, `side` being ``before`` or ``after``: the two halves of a diff."""
        return {k.name: str(asdict(k)[side]) for k in self.knobs}


def choice(text: str) -> str:
    """The value in force: the bracketed word of ``always [madvise] never``, or the whole text."""
    found = re.search(r"\[([^\]]+)\]", text)
    return found.group(1) if found else text.strip()


def read(root: str, path: str) -> Optional[str]:
    """The value in force at `path` below `root`, None where this kernel has no such file."""
    try:
        with open(os.path.join(root, path), encoding="ascii") as stream:
            return choice(stream.read())
    except FileNotFoundError:
        return None


def write(root: str, path: str, value: str) -> None:
    """One write(2), as sysfs wants it. Raises OSError."""
    descriptor = os.open(os.path.join(root, path), os.O_WRONLY)
    try:
        os.write(descriptor, value.encode("ascii") + b"\n")
    finally:
        os.close(descriptor)


def put(root: str, path: str, wanted: str, check: bool, name: str = "") -> Knob:
    """Bring one file to `wanted` and read it back; in check mode say what would be done."""
    name = name or os.path.basename(path)
    before = read(root, path)
    if before is None:
        return Knob(name, wanted, "absent", "absent", "skipped", "this kernel does not have it")
    if before == wanted:
        return Knob(name, wanted, before, before, "kept")
    if not os.access(os.path.join(root, path), os.W_OK):
        return Knob(name, wanted, before, before, "skipped", "read-only, stays at " + before)
    if check:
        return Knob(name, wanted, before, wanted, "applied")
    try:
        write(root, path, wanted)
    except OSError as error:
        return Knob(name, wanted, before, before, "failed", "%s: %s" % (path, error.strerror))
    after = read(root, path) or "absent"
    if after != wanted:
        return Knob(name, wanted, before, after, "failed", "wrote %s, read back %s" % (wanted, after))
    return Knob(name, wanted, before, after, "applied")


def _overrides(root: str) -> List[str]:
    """Files that can turn huge pages on although the top level says never: per-size and shared memory."""
    top = os.path.join(root, THP)
    sizes = sorted(entry for entry in os.listdir(top) if re.fullmatch(r"hugepages-\d+kB", entry))
    paths = ["shmem_enabled"] + [size + "/" + leaf for size in sizes for leaf in ("enabled", "shmem_enabled")]
    return [THP + "/" + path for path in paths]


def transparent_hugepages(root: str, wanted: str, check: bool) -> List[Knob]:
    """Top level, defrag and khugepaged as `wanted`; with ``never`` also every override of them."""
    if not os.path.isdir(os.path.join(root, THP)):
        if wanted == "never":
            return [Knob("transparent_hugepage", wanted, "absent", "absent", "kept", "not in this kernel")]
        return [Knob("transparent_hugepage", wanted, "absent", "absent", "skipped", "not in this kernel")]
    defrag, khugepaged = THP_COMPANIONS[wanted]
    knobs = [put(root, THP + "/enabled", wanted, check, "thp.enabled")]
    knobs.append(put(root, THP + "/defrag", defrag, check, "thp.defrag"))
    knobs.append(put(root, THP + "/khugepaged/defrag", khugepaged, check, "thp.khugepaged.defrag"))
    if wanted == "never":
        for path in _overrides(root):
            value = read(root, path)
            if value is not None and value not in ("never", "inherit", "deny"):
                name = "thp" + path[len(THP) :].replace("/", ".")
                knobs.append(put(root, path, "never", check, name))
    return knobs


def _meminfo(root: str) -> Dict[str, int]:
    """/proc/meminfo, in kB (the HugePages_* lines: pages)."""
    with open(os.path.join(root, "proc/meminfo"), encoding="ascii") as stream:
        pairs = (line.split(":", 1) for line in stream if ":" in line)
        return {name: int(value.split()[0]) for name, value in pairs}


def _gib(pages: int) -> str:
    return "%d pages (%.1f GiB)" % (pages, pages * PAGE_KB / 1024.0 / 1024.0)


def hugepages(root: str, wanted: int, check: bool) -> Knob:
    """Bring the pool of 2 MiB pages to `wanted` pages; fewer is ``failed``, with wanted, got and what to do."""
    memory = _meminfo(root)
    if memory.get("Hugepagesize") != PAGE_KB:
        size = memory.get("Hugepagesize", 0)
        reason = "the kernel's huge page is %d kB, not 2048 kB; remove default_hugepagesz= or declare 0 pages" % size
        return Knob("hugepages", str(wanted), "absent", "absent", "failed", reason)
    before = int(read(root, NR_HUGEPAGES) or 0)
    room = max(0, memory["MemAvailable"] - RESERVE_KB) // PAGE_KB
    if wanted - before > room:
        got = "wanted %s, got %s" % (_gib(wanted), _gib(before))
        reason = "%s: %s more would fit now; %s" % (got, _gib(room), _cure(wanted))
        return Knob("hugepages", str(wanted), str(before), str(before), "failed", reason)
    knob = put(root, NR_HUGEPAGES, str(wanted), check, "hugepages")
    if knob.outcome == "failed" and int(knob.after) < wanted:
        return _compact_and_retry(root, wanted, knob)
    return knob


def _compact_and_retry(root: str, wanted: int, first: Knob) -> Knob:
    """The kernel gave fewer pages, silently: make contiguous memory, ask once more, then say what is missing."""
    os.sync()
    try:
        write(root, "proc/sys/vm/compact_memory", "1")
    except OSError:
        pass  # not every kernel compacts; the second attempt decides
    again = put(root, NR_HUGEPAGES, str(wanted), False, "hugepages")
    if again.outcome != "failed":
        return Knob("hugepages", str(wanted), first.before, again.after, "applied")
    reason = "wanted %s, got %s: memory is fragmented; %s" % (_gib(wanted), _gib(int(again.after)), _cure(wanted))
    return Knob("hugepages", str(wanted), first.before, again.after, "failed", reason)


def _cure(wanted: int) -> str:
    return "boot with hugepages=%d on the kernel command line, or lower host.hugepages_2mb" % wanted


def settle(root: str, thp: Optional[str], pages: int, swappiness: Optional[int], check: bool) -> Report:
    """Everything that was asked for: `thp` None, `pages` 0 and `swappiness` None leave that setting alone."""
    report = Report()
    if thp is not None:
        report.knobs.extend(transparent_hugepages(root, thp, check))
    if swappiness is not None:
        report.knobs.append(put(root, "proc/sys/vm/swappiness", str(swappiness), check))
    if pages > 0:
        report.knobs.append(hugepages(root, pages, check))
    return report


def main(argv: Optional[List[str]] = None, say: Callable[[str], None] = print) -> int:
    """What runs at boot. 0 when the kernel is as wanted or cannot be told (read-only), 1 when it refused."""
    parser = argparse.ArgumentParser(description="Sets transparent huge pages and reads them back.")
    parser.add_argument("transparent_hugepages", choices=sorted(THP_COMPANIONS))
    parser.add_argument("--root", default="/", help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    report = settle(chosen.root, chosen.transparent_hugepages, 0, None, check=False)
    for knob in report.knobs:
        why = " (" + knob.reason + ")" if knob.reason else ""
        say("%s: %s, was %s, is %s%s" % (knob.name, knob.outcome, knob.before, knob.after, why))
    return 1 if report.names("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
