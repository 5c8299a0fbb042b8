"""What the NVIDIA driver says to the kernel's log: `NVRM: Xid` lines, their class and meaning.

gpu_xids.json beside this file is dsdeploy's one table of them: acceptance and alerts read it too.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

_FILE = json.loads(Path(__file__).with_name("gpu_xids.json").read_text(encoding="utf-8"))
# Class -> what to do, from nothing to most.
ACTIONS: Dict[str, str] = _FILE["classes"]
CLASSES = tuple(ACTIONS)
MEANINGS: Dict[int, Dict[str, str]] = {int(code): row for code, row in _FILE["xids"].items()}
_RECOVERY: Dict[str, str] = _FILE["recovery"]

# `[ 12.34] NVRM: Xid (PCI:0000:17:00): 79, ...`; journalctl has host and `kernel:` in between; old drivers no `PCI:`
_LINE = re.compile(
    r"^\[\s*(\d{1,12}\.\d{1,9})\].*?\bNVRM: Xid \((?:PCI:)?([0-9A-Fa-f:.]{7,20})[^)]*\): (\d{1,5})\b[,:]? ?(.*)"
)
# `GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)`: the words differ between drivers
_CHANGED = re.compile(r"recovery action changed from \S+ .*\bto (0x[0-9A-Fa-f]+)")


class Xid(NamedTuple):
    """`since_boot` in seconds; `bus` as NVML writes it, without the function: 0000:17:00."""

    since_boot: float
    bus: str
    code: int
    text: str

    @property
    def kind(self) -> str:
        return kind(self.code, self.text)

    @property
    def meaning(self) -> str:
        return MEANINGS[self.code]["what"] if self.code in MEANINGS else "not in the catalogue this program knows"

    @property
    def action(self) -> str:
        return MEANINGS.get(self.code, {}).get("act") or ACTIONS[self.kind]


def kind(code: int, text: str) -> str:
    """The class of a code; where the driver says itself what it wants, that counts."""
    asked = _CHANGED.search(text)
    if asked and asked.group(1).lower() in _RECOVERY:
        return _RECOVERY[asked.group(1).lower()]
    return MEANINGS[code]["class"] if code in MEANINGS else "unknown"


def parse(lines: Iterable[str]) -> List[Xid]:
    """The Xids among the kernel's lines, as dmesg and `journalctl -k -o short-monotonic` print them."""
    found = []
    for line in lines:
        match = _LINE.match(line)
        if match:
            when, bus, code, text = match.groups()
            found.append(Xid(float(when), short(bus), int(code), text.strip()[:200]))
    return found


def short(bus: str) -> str:
    """`0000:17:00` from `00000000:17:00.0`, `0000:17:00` and `17:00`: domain of four digits, no function."""
    parts = bus.lower().split(".")[0].split(":")
    if len(parts) == 2:
        parts.insert(0, "0")
    return ":".join([f"{int(parts[0] or '0', 16):04x}", *parts[1:3]]) if len(parts) == 3 else bus.lower()


def read(timeout: float) -> Tuple[str, List[str], str]:
    """(source, lines, why not): the journal of this boot, else the kernel's ring buffer."""
    ways = (
        ("journal", ["journalctl", "-k", "-b", "-q", "--no-pager", "-o", "short-monotonic"]),
        ("dmesg", ["dmesg"]),
    )
    why = ""
    for source, argv in ways:
        try:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            why = f"{argv[0]}: {error}"
            continue
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        if done.returncode == 0 and (lines or source == "dmesg"):
            return source, lines, ""
        why = f"{argv[0]}: {done.stderr.decode('utf-8', 'replace').strip()[:200] or 'empty'}"
    return "", [], why


def accumulate(state: Dict[str, Any], boot: str, events: List[Xid]) -> Dict[str, Any]:
    """Counters by class that only rise: what the log has lost stays counted, a new boot begins behind the last.

    `state` is what the last call returned: counts, boot, the newest time seen and how many events had it.
    """
    counts = {kind: int((state.get("counts") or {}).get(kind, 0)) for kind in CLASSES}
    same = state.get("boot") == boot
    seen, at_seen = (float(state.get("seen", -1)), int(state.get("at_seen", 0))) if same else (-1.0, 0)
    newest, at_newest, passed = seen, at_seen, 0
    for event in sorted(events):
        if event.since_boot < seen:
            continue
        if event.since_boot == seen:
            passed += 1
            if passed <= at_seen:
                continue
        counts[event.kind] += 1
        at_newest = at_newest + 1 if event.since_boot == newest else 1
        newest = event.since_boot
    return {"boot": boot, "seen": newest, "at_seen": at_newest, "counts": counts}


def told(events: List[Xid], booted: Optional[float], last: int) -> List[Dict[str, Any]]:
    """The last so many of them for the report, newest last, none for 0.

    `at` in seconds since 1970 where the boot's time is known.
    """
    return [
        {"at": None if booted is None else round(booted + event.since_boot, 3), "since_boot": event.since_boot,
         "bus": event.bus, "code": event.code, "class": event.kind, "meaning": event.meaning, "action": event.action,
         "text": event.text}
        for event in events[max(0, len(events) - last) :]
    ]  # fmt: skip
