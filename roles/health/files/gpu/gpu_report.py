"""The GPUs of this host, as its driver, its bus and its kernel's log have them. One program, three outputs:

report     one JSON object on stdout
metrics    node_exporter's textfile format, to --out (whole or not at all) or to stdout
health     what is wrong, a line each, worst first

Exit: 0 done, for health: nothing bad; 1 health: something is bad, or the output cannot be written; 2 wrong words.
A driver that hangs hangs this program with it: whoever runs it puts a limit on it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

sys.dont_write_bytecode = True

import gpu_bus as bus  # noqa: E402
import gpu_metrics as metrics  # noqa: E402
import gpu_nvml as nvml  # noqa: E402
import gpu_verdict as verdict  # noqa: E402
import gpu_xids as xids  # noqa: E402

SCHEMA = 1
LOG_S = 20.0
Report = Dict[str, Any]


def collect(args: argparse.Namespace) -> Report:
    """Everything. The state of Xid counters, where one is kept, is brought up to date."""
    said = nvml.read()
    source, lines, why = ("file", args.kernel_log.read_text().splitlines(), "") if args.kernel_log else xids.read(LOG_S)
    events = xids.parse(lines)
    report: Report = {
        "schema": SCHEMA,
        "at": round(time.time(), 3),
        "nvml": {"state": said["state"], "error": said["error"]},
        "driver": said.get("driver", ""),
        "cuda": said.get("cuda", ""),
        "count": len(said.get("gpus", [])),
        "expected": args.expected,
        "least": args.least,
        "on_bus": bus.gpus(args.sys),
        "gpus": said.get("gpus", []),
        "xids": {"source": source, "error": why, "counts": _counts(args.state, events) if source else {},
                 "last": xids.told(events, _booted(), args.last)},
    }  # fmt: skip
    return {**report, "problems": verdict.problems(report)}


def _counts(state: Optional[Path], events: List[xids.Xid]) -> Dict[str, int]:
    """By class; with a state file they go on across boots and rotated logs."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    before: Dict[str, Any] = {}
    if state and state.exists():
        try:
            before = json.loads(state.read_text())
        except ValueError:  # torn by a crash: counters begin anew, as after any reset of a counter
            pass
    after = xids.accumulate(before if isinstance(before, dict) else {}, boot, events)
    if state and after != before:
        metrics.put(str(state), json.dumps(after) + "\n")
    counts: Dict[str, int] = after["counts"]
    return counts


def _booted() -> Optional[float]:
    """When the kernel started, seconds since 1970."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return None


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("output", choices=("report", "metrics", "health"))
    top.add_argument("--expected", type=int, help="GPUs this host should have")
    top.add_argument("--least", type=int, default=0, help="GPUs it has at least, where nobody says how many")
    top.add_argument("--last", type=int, default=20, help="Xids to tell of, newest last")
    top.add_argument("--state", type=Path, help="file that keeps the Xid counters")
    top.add_argument("--out", help="where metrics go; without it to stdout")
    top.add_argument("--keep", help="where the JSON report goes as well")
    top.add_argument("--sys", type=Path, default=Path("/sys"), help="another sysfs, for tests")
    top.add_argument("--kernel-log", type=Path, help="a file instead of the kernel's log, for tests")
    return top


def main(argv: List[str]) -> int:
    args = parser().parse_args(argv)
    try:
        report = collect(args)
        document = json.dumps(report, separators=(",", ":")) + "\n"
        if args.keep:
            metrics.put(args.keep, document)
        if args.output == "metrics" and args.out:
            metrics.put(args.out, metrics.render(report, report["xids"]["counts"]))
        elif args.output == "metrics":
            sys.stdout.write(metrics.render(report, report["xids"]["counts"]))
        elif args.output == "report":
            sys.stdout.write(document)
    except OSError as error:
        sys.stderr.write(f"{error.filename or 'host'}: {error.strerror}\n")
        return 1
    if args.output != "health":
        return 0
    for one in report["problems"]:
        sys.stdout.write(f"{one['level']}: {verdict.sentence(one)}{' | ' + one['hint'] if one['hint'] else ''}\n")
    return int(any(one["level"] == "bad" for one in report["problems"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
