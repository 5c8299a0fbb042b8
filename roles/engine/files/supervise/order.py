"""The command line every builder has, and how it answers: one JSON object on stdout, progress on stderr."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List


class BuildError(Exception):
    """What went wrong, where, and what helps."""

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.hint = what, where, hint


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, required=True, help="folder of the verified checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="final folder of the build")
    for name in ("--precision", "--key", "--weights-digest", "--hardware"):
        parser.add_argument(name, required=True)
    parser.add_argument("--flags", type=json.loads, default={})
    return parser.parse_args()


def record(given: argparse.Namespace, builder: str, version: str, **more: Any) -> Dict[str, Any]:
    """What build.json says beside its files."""
    return {
        "key": given.key, "weights_digest": given.weights_digest, "builder": builder, "builder_version": version,
        "precision": given.precision, "hardware": given.hardware, "flags": given.flags, **more,
    }  # fmt: skip


def main(build: Callable[[argparse.Namespace], Dict[str, Any]]) -> int:
    """Exit code. A TERM ends as an interrupt does: the partial folder is removed on the way out."""
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.umask(0o022)
    answers, sys.stdout = sys.stdout, sys.stderr  # what an engine says meanwhile is progress
    try:
        answer, code = build(given), 0
    except BuildError as error:
        answer, code = {"what": error.what, "where": error.where or str(given.out), "hint": error.hint}, 1
    except OSError as error:
        what, where = f"the build cannot be made: {error.strerror or error}", str(error.filename or given.out)
        answer, code = {"what": what, "where": where, "hint": f"df -h {given.out.parent}"}, 1
    print(json.dumps(answer), file=answers)
    return code


def gpus(visible: str = "") -> List[Dict[str, str]]:
    """The GPUs an engine would see: index, total, used (MiB), compute, driver, name. Empty without a driver."""
    fields = ("index", "memory.total", "memory.used", "compute_cap", "driver_version", "name")
    argv = ["nvidia-smi", "--format=csv,noheader,nounits", "--query-gpu=" + ",".join(fields)]
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [[cell.strip() for cell in line.split(",", len(fields) - 1)] for line in done.stdout.splitlines()]
    found = [dict(zip(fields, row)) for row in rows if len(row) == len(fields)]
    wanted = visible.split(",") if visible else []
    return [gpu for gpu in found if not wanted or gpu["index"] in wanted]
