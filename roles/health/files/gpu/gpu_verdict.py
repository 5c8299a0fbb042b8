"""What is wrong, from a report. Pure. `bad`: requests fail or will; `warn`: to be mended when it suits."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

from gpu_xids import CLASSES, short

RECENT_S = 3600.0  # an Xid older than that is told by what it left behind, or is over
_SLOW = ("hardware slowdown", "hardware thermal", "software thermal", "power brake")
_HINTS = {
    "no driver": "lsmod | grep nvidia; dmesg | grep NVRM",
    "no library": "install the stack's driver: dsdeploy up SITE",
    "library and driver differ": "the driver was updated under a running kernel module: drain the host and reboot it",
}

NONE = "no NVIDIA GPU is on the bus"

Report = Dict[str, Any]
Problem = Dict[str, Any]


def problems(report: Report) -> List[Problem]:
    """Worst first, then by GPU."""
    found = [*_host(report), *(one for gpu in report["gpus"] for one in _gpu(gpu, _place(report, gpu)))]
    found += [*_links(report["gpus"]), *_xids(report)]
    return sorted(found, key=lambda one: (one["level"] != "bad", one["gpu"] is None, one["gpu"] or 0))


def _say(level: str, gpu: Any, what: str, hint: str = "", fatal: bool = False) -> Problem:
    """`fatal`: an engine that does not answer will not answer after its restart either."""
    return {"level": level, "gpu": gpu, "what": what, "hint": hint, "fatal": fatal}


def _host(report: Report) -> Iterator[Problem]:
    bus, state = report["on_bus"], report["nvml"]["state"]
    if state != "ok" and (bus or report["expected"] or state == "library and driver differ"):
        there = f"{len(bus)} NVIDIA GPUs are on the bus and none can be asked" if bus else "no GPU can be asked"
        why = report["nvml"]["error"]
        yield _say("bad", None, f"{there}: {state} ({why})", _HINTS.get(state, ""), fatal=True)
    answering = [gpu for gpu in report["gpus"] if not gpu["lost"] and "handle" not in gpu["errors"]]
    missing = _missing(report)
    unnamed = sum(1 for gpu in report["gpus"] if not gpu["bus"])  # those are among the missing
    if state == "ok" and len(missing) > unnamed:
        hint = "dmesg | grep -e NVRM -e Xid; a GPU that fell off the bus comes back with a reboot"
        yield _say("bad", None, f"on the bus, but the driver does not list: {', '.join(missing)}", hint, fatal=True)
    expected, there = report["expected"], max(len(bus), len(report["gpus"]))
    if expected is None and there < report["least"]:  # those that are there and do not answer are told above
        what = f"only {there} NVIDIA GPUs are there, the site uses {report['least']}" if there else NONE
        yield _say("bad", None, what, "lspci -d 10de: on the host; power and seating, then a reboot", fatal=not there)
    if expected is not None and state == "ok" and len(answering) != expected:
        yield _say("bad", None, f"{len(answering)} of {expected} GPUs answer")


def _missing(report: Report) -> List[str]:
    """Addresses on the bus that no GPU of the driver's has told as its own."""
    known = {short(gpu["bus"]) for gpu in report["gpus"] if gpu["bus"]}
    return [address for address in report["on_bus"] if short(address) not in known]


def _place(report: Report, gpu: Report) -> str:
    """Where a GPU is; one that cannot say it any more is where nobody else is, if that is one place."""
    missing = _missing(report)
    return gpu["bus"] or (missing[0] if len(missing) == 1 else "")


def _gpu(gpu: Report, place: str) -> Iterator[Problem]:
    index = gpu["index"]
    if gpu["lost"]:
        at = f" ({place})" if place else ""
        yield _say(
            "bad", index, f"has fallen off the bus{at}", "drain the host and reboot it; if it recurs, the vendor", True
        )
        return
    if "handle" in gpu["errors"]:
        yield _say("bad", index, f"cannot be opened: {gpu['errors']['handle']}", "dmesg | grep NVRM", True)
        return
    if gpu["reset_required"]:
        yield _say("bad", index, "wants a reset", "drain the host, then: nvidia-smi --gpu-reset, or a reboot", True)
    elif gpu["errors"]:
        said = "; ".join(f"{name}: {why}" for name, why in sorted(gpu["errors"].items())[:3])
        yield _say("warn", index, f"does not answer every question ({said})")
    yield from _memory(gpu)
    slow = [reason for reason in gpu["throttle"] or () if reason in _SLOW]
    if slow:
        at = f" at {gpu['temperature']} C" if gpu["temperature"] is not None else ""
        yield _say("warn", index, f"is slowed down{at}: {', '.join(slow)}", "fans, air, power supplies")


def _links(gpus: List[Report]) -> Iterator[Problem]:
    """Fewer NVLinks than another GPU of the same kind has here: how many there should be, each board has its own."""
    up = {gpu["index"]: len(gpu["nvlink"]["up"]) for gpu in gpus if gpu["nvlink"]}
    for gpu in gpus:
        best = max((up[one["index"]] for one in gpus if one["index"] in up and one["name"] == gpu["name"]), default=0)
        if gpu["index"] in up and up[gpu["index"]] < best:
            down = ", ".join(map(str, gpu["nvlink"]["down"]))
            yield _say("bad", gpu["index"], f"{up[gpu['index']]} of {best} NVLinks are up; down: {down}",
                       "nvidia-smi nvlink --status; systemctl status nvidia-fabricmanager")  # fmt: skip


def _memory(gpu: Report) -> Iterator[Problem]:
    index, rows, pages, ecc = gpu["index"], gpu["remapped"], gpu["retired"], gpu["ecc"]
    if rows and rows["failure"]:
        yield _say("bad", index, "a memory row could not be remapped: no spare row is left", "replace the GPU")
    if rows and rows["pending"]:
        yield _say("warn", index, "a memory row is to be remapped", "drain the host, then reset the GPU or reboot")
    if pages and pages["pending"]:
        yield _say("warn", index, "memory pages are to be retired", "drain the host, then reset the GPU or reboot")
    errors = ecc and ecc["volatile"]["uncorrected"]
    if errors:
        yield _say("bad", index, f"{errors} uncorrectable memory errors since the driver was loaded",
                   "drain the host, then reset the GPU; dmesg | grep Xid")  # fmt: skip
    if ecc and ecc["enabled"] != ecc["after_reboot"]:
        yield _say("warn", index, f"ECC will be {'on' if ecc['after_reboot'] else 'off'} after the next reboot")


def _xids(report: Report) -> Iterator[Problem]:
    """Once for each GPU and code. Those that only concern a program, or inform, are in the report alone."""
    indexes = {short(gpu["bus"]): gpu["index"] for gpu in report["gpus"] if gpu["bus"]}
    told = set()
    for event in reversed(report["xids"]["last"]):
        key = (event["bus"], event["code"])
        old = event["at"] is None or report["at"] - event["at"] > RECENT_S
        if key in told or old or CLASSES.index(event["class"]) < CLASSES.index("drain"):
            continue
        told.add(key)
        level = "bad" if event["class"] in ("reset", "reboot") else "warn"
        what = f"Xid {event['code']}: {event['meaning']} ({event['bus']})"
        yield _say(level, indexes.get(event["bus"]), what, event["action"])


def sentence(problem: Problem) -> str:
    return f"GPU {problem['gpu']}: {problem['what']}" if problem["gpu"] is not None else problem["what"]
