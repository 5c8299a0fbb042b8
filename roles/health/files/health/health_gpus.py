"""The GPU report of this tick, made by a program of its own: a driver that hangs must not hang us."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

PROGRAM = Path("/usr/local/lib/dsdeploy/gpu/gpu_report.py")
TIMEOUT_S = 20.0


def look(config: Dict[str, Any], memory: Dict[str, Any], state: Path) -> Dict[str, Any]:
    """{"problems": sentences, worst first, "broken": what no restart mends, "hung": a process that never ended}."""
    hung = memory.get("hung") or {}
    if hung and _same(hung):
        return _hangs(hung)
    out = Path(config["textfile_dir"]) / "dsdeploy_gpu.prom"
    argv = [sys.executable, "-B", str(PROGRAM), "metrics", "--out", str(out)]
    argv += ["--state", str(state / "xids.json"), "--keep", str(state / "gpu.json")]
    if config.get("gpus") is not None:
        argv += ["--expected", str(config["gpus"])]
    elif config.get("gpus_least"):
        argv += ["--least", str(config["gpus_least"])]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, said = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        try:
            process.communicate(timeout=1)
        except subprocess.TimeoutExpired:  # in the kernel, where no signal reaches it: left there, looked at next time
            return _hangs({"pid": process.pid, "started": _started(process.pid)})
        return {**_hangs({"pid": process.pid, "started": ""}), "hung": None}
    if process.returncode:
        return {
            "problems": [f"the GPU report failed: {said.decode('utf-8', 'replace').strip()[-300:]}"],
            "broken": "",
            "hung": None,
        }
    return {**told(json.loads((state / "gpu.json").read_text())), "hung": None}


def told(report: Dict[str, Any]) -> Dict[str, Any]:
    """Problems as sentences."""
    problems: List[Dict[str, Any]] = report["problems"]
    fatal = [_sentence(one) for one in problems if one["fatal"]]
    return {"problems": [_sentence(one) for one in problems if one["level"] == "bad"], "broken": "; ".join(fatal[:2])}


def _sentence(problem: Dict[str, Any]) -> str:
    return f"GPU {problem['gpu']}: {problem['what']}" if problem["gpu"] is not None else str(problem["what"])


def _hangs(hung: Dict[str, Any]) -> Dict[str, Any]:
    what = f"the driver does not answer: the GPU report (pid {hung['pid']}) has not ended within {TIMEOUT_S:.0f} s"
    return {"problems": [what], "broken": what, "hung": hung}


def _same(hung: Dict[str, Any]) -> bool:
    return bool(hung["started"]) and _started(int(hung["pid"])) == hung["started"]


def _started(pid: int) -> str:
    """When a process began, in ticks; "" when there is none. Tells it from a later one with its number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
