"""A report as node_exporter's textfile collector reads it. What is not known has no line."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Tuple

from gpu_xids import CLASSES

Sample = Tuple[Dict[str, str], float]
Report = Dict[str, Any]

_HELP = {
    "gpu_up": ("gauge", "1 while the GPU answers, 0 when it has fallen off the bus or cannot be opened."),
    "gpu_info": ("gauge", "Always 1; which GPU it is."),
    "gpus": ("gauge", "GPUs of this host: that answer, on the bus, expected."),
    "gpu_memory_size_bytes": ("gauge", "Memory of the GPU."),
    "gpu_memory_used_bytes": ("gauge", "Memory in use."),
    "gpu_utilisation_ratio": ("gauge", "Share of time in which a kernel was resident; 1 does not mean saturated."),
    "gpu_temperature_celsius": ("gauge", "Temperature of the die."),
    "gpu_power_watts": ("gauge", "Power draw."),
    "gpu_clock_hertz": ("gauge", "Clock now, and the highest of the SMs."),
    "gpu_throttled": ("gauge", "1 while the clocks are held down for this reason."),
    "gpu_ecc_errors_total": ("counter", "Memory errors: volatile since the driver was loaded, aggregate since made."),
    "gpu_remapped_rows_total": ("counter", "Memory rows replaced by spare ones."),
    "gpu_retired_pages_total": ("counter", "Memory pages given up."),
    "gpu_memory_repair_pending": ("gauge", "1 while a row or page waits for a reset to be replaced."),
    "gpu_memory_repair_failed": ("gauge", "1 when a row could not be replaced."),
    "gpu_nvlinks": ("gauge", "NVLinks by state."),
    "gpu_process_memory_bytes": ("gauge", "Memory of all compute processes."),
    "gpu_processes": ("gauge", "Compute processes."),
    "gpu_xid_errors_total": ("counter", "Xids in the kernel's log, by what they ask for."),
    "gpu_problems": ("gauge", "What the report finds wrong, by level."),
    "gpu_report_timestamp_seconds": ("gauge", "When this report was made."),
}


def render(report: Report, counts: Dict[str, int]) -> str:
    """The whole file. `counts` are Xids by class; empty when the kernel's log cannot be read: then no line."""
    found: Dict[str, List[Sample]] = {name: [] for name in _HELP}
    for name, labels, value in (*_host(report, counts), *(one for gpu in report["gpus"] for one in _gpu(gpu))):
        found[name].append((labels, float(value)))
    lines = []
    for name, samples in found.items():
        if samples:
            kind, words = _HELP[name]
            lines += [f"# HELP dsdeploy_{name} {words}", f"# TYPE dsdeploy_{name} {kind}"]
            lines += [f"dsdeploy_{name}{_labels(labels)} {value:.17g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Dict[str, str]) -> str:
    if not labels:
        return ""
    quoted = (
        (name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")) for name, value in labels.items()
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in quoted) + "}"


def _host(report: Report, counts: Dict[str, int]) -> Iterator[Tuple[str, Dict[str, str], float]]:
    answering = sum(1 for gpu in report["gpus"] if _up(gpu))
    yield "gpus", {"state": "answering"}, answering
    yield "gpus", {"state": "on_bus"}, len(report["on_bus"])
    if report["expected"] is not None:
        yield "gpus", {"state": "expected"}, report["expected"]
    for kind in CLASSES if counts else ():  # every class from the first time on, else an increase from nothing is lost
        yield "gpu_xid_errors_total", {"class": kind}, counts.get(kind, 0)
    for level in ("bad", "warn"):
        yield "gpu_problems", {"level": level}, sum(1 for one in report["problems"] if one["level"] == level)
    yield "gpu_report_timestamp_seconds", {}, report["at"]


def _up(gpu: Report) -> bool:
    return not gpu["lost"] and "handle" not in gpu["errors"]


def _gpu(gpu: Report) -> Iterator[Tuple[str, Dict[str, str], float]]:
    me = {"gpu": str(gpu["index"])}
    yield "gpu_up", me, _up(gpu)
    if gpu["uuid"]:
        words = {"uuid": gpu["uuid"], "name": gpu["name"], "bus": gpu["bus"], "compute": gpu["compute"]}
        yield "gpu_info", {**me, **words}, 1
    if gpu["memory"]:
        yield "gpu_memory_size_bytes", me, gpu["memory"]["total"]
        yield "gpu_memory_used_bytes", me, gpu["memory"]["used"]
    if gpu["utilisation"]:
        yield "gpu_utilisation_ratio", {**me, "of": "compute"}, gpu["utilisation"]["gpu"] / 100
        yield "gpu_utilisation_ratio", {**me, "of": "memory"}, gpu["utilisation"]["memory"] / 100
    for name, value in (("gpu_temperature_celsius", gpu["temperature"]), ("gpu_power_watts", gpu["power"])):
        if value is not None:
            yield name, me, value
    for clock, mhz in (gpu["clocks"] or {}).items():
        if mhz is not None:
            yield "gpu_clock_hertz", {**me, "clock": clock}, mhz * 1e6
    for reason in gpu["throttle"] or ():
        if reason != "idle":
            yield "gpu_throttled", {**me, "reason": reason}, 1
    yield from _memory(gpu, me)
    if gpu["nvlink"]:
        yield from (("gpu_nvlinks", {**me, "state": state}, len(gpu["nvlink"][state])) for state in ("up", "down"))
    if gpu["processes"] is not None:
        yield "gpu_processes", me, len(gpu["processes"])
        yield "gpu_process_memory_bytes", me, sum(one["memory"] or 0 for one in gpu["processes"])


def _memory(gpu: Report, me: Dict[str, str]) -> Iterator[Tuple[str, Dict[str, str], float]]:
    ecc, rows, pages = gpu["ecc"], gpu["remapped"], gpu["retired"]
    for since in ("volatile", "aggregate") if ecc else ():
        for kind, count in ecc[since].items():
            if count is not None:
                yield "gpu_ecc_errors_total", {**me, "since": since, "kind": kind}, count
    for kind in ("corrected", "uncorrected") if rows else ():
        yield "gpu_remapped_rows_total", {**me, "kind": kind}, rows[kind]
    for kind in ("single_bit", "double_bit") if pages else ():
        if pages[kind] is not None:
            yield "gpu_retired_pages_total", {**me, "kind": kind}, pages[kind]
    if rows or pages:
        yield "gpu_memory_repair_pending", me, bool(rows and rows["pending"]) or bool(pages and pages["pending"])
    if rows:
        yield "gpu_memory_repair_failed", me, rows["failure"]


def put(path: str, text: str) -> None:
    """Whole or not at all, and readable by the collector: it may read at any moment. Raises OSError."""
    draft = f"{path}.{os.getpid()}"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        if os.path.exists(draft):
            os.unlink(draft)
        raise
