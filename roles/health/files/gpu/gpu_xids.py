"""What the NVIDIA driver says to the kernel's log: `NVRM: Xid` lines, their class and meaning.

Meanings and actions follow NVIDIA's catalogue for Ampere and later
(https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html); codes it calls unused are `unknown` here.
"""

from __future__ import annotations

import re
import subprocess
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

# What has to happen, from nothing to most.
CLASSES = ("information", "application", "drain", "reset", "reboot", "vendor", "unknown")

_TABLE: Dict[str, Dict[int, str]] = {
    "information": {
        37: "driver firmware error", 38: "driver firmware watchdog", 44: "fault during a context switch",
        66: "illegal access by the driver", 67: "illegal access by the driver", 106: "SMBPBI test message",
        107: "SMBPBI test message", 121: "corrected error on the link to the CPU", 137: "illegal access over NVLink",
        141: "CUDA fast path error", 154: "the recovery action changed", 160: "channel retired",
        161: "channel could not be retired", 162: "power smoothing is on again", 163: "power smoothing is off",
        164: "power smoothing: little life left", 165: "power smoothing: worn out",
    },
    "application": {
        8: "GPU stopped processing", 11: "corrupted push buffer", 13: "graphics engine exception",
        31: "memory page fault", 32: "corrupted push buffer", 39: "copy engine exception",
        40: "copy engine exception", 41: "copy engine exception", 43: "GPU stopped processing for one program",
        45: "a program's channels were torn down", 60: "video processor exception", 68: "video decoder exception",
        69: "graphics engine class error", 70: "copy engine error", 71: "copy engine error", 72: "copy engine error",
        75: "copy engine error", 76: "copy engine error", 77: "copy engine error", 80: "corrupted data sent to the GPU",
        85: "copy engine error", 86: "optical flow exception",
    },
    "drain": {
        63: "a memory row is to be remapped at the next reset", 92: "many corrected memory errors",
        94: "memory error, contained to one program", 156: "a resource is retired at the next reset",
    },
    "reset": {
        46: "GPU stopped processing", 48: "uncorrectable memory error", 62: "micro-controller halted",
        64: "a memory row could not be remapped", 74: "NVLink error", 95: "memory error, not contained",
        109: "context switch timed out", 110: "security fault", 119: "GSP firmware does not answer",
        120: "GSP firmware error", 136: "link training failed", 140: "uncorrected memory error",
        143: "GPU did not initialize", 144: "NVLink SAW error", 145: "NVLink RLW error", 146: "NVLink TLW error",
        147: "NVLink TREX error", 148: "NVLink NVLPW error", 149: "NVLink NETIR error", 150: "NVLink MSE error",
        155: "NVLink went down", 158: "fatal timeout", 171: "uncorrectable error in DRAM",
        172: "uncorrectable error in SRAM",
    },
    "reboot": {79: "GPU has fallen off the bus"},
    "vendor": {54: "auxiliary power is not connected", 157: "a resource could not be retired"},
}  # fmt: skip
MEANINGS = {code: (kind, meaning) for kind, codes in _TABLE.items() for code, meaning in codes.items()}

# `[ 12.34] NVRM: Xid (PCI:0000:17:00): 79, ...`; journalctl has host and `kernel:` in between; old drivers no `PCI:`
_LINE = re.compile(
    r"^\[\s*(\d{1,12}\.\d{1,9})\].*?\bNVRM: Xid \((?:PCI:)?([0-9A-Fa-f:.]{7,20})[^)]*\): (\d{1,5})\b[,:]? ?(.*)"
)


class Xid(NamedTuple):
    """`since_boot` in seconds; `bus` as NVML writes it, without the function: 0000:17:00."""

    since_boot: float
    bus: str
    code: int
    text: str

    @property
    def kind(self) -> str:
        return MEANINGS.get(self.code, ("unknown", ""))[0]

    @property
    def meaning(self) -> str:
        return MEANINGS.get(self.code, ("", "not in the catalogue this program knows"))[1]


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
    """The last of them for the report, newest last; `at` in seconds since 1970 where the boot's time is known."""
    return [
        {"at": None if booted is None else round(booted + event.since_boot, 3), "since_boot": event.since_boot,
         "bus": event.bus, "code": event.code, "class": event.kind, "meaning": event.meaning, "text": event.text}
        for event in events[-last:]
    ]  # fmt: skip
