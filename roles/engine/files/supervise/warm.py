"""The build of vLLM and SGLang: the kernels they compile at a first start, made before that start is waited for.

The engine is started once on the loopback, with a cache of its own, until a completion came back; what it compiled
is recorded. Where the GPUs have no room beside what serves, or several hosts are one engine, nothing is compiled
now: the build is then cold, says so, and the first start fills the colour's cache itself.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import socket
import sys
import time
from pathlib import Path
from typing import Any, Dict, Tuple

import ask
import filled
import sealed
import words
from caches import FOLDER
from child import Child
from order import BuildError, gpus, main, record
from progress import Progress

BUILDER = "kernel_warmup"
VERSION = "1"
NOTE = "warm.json"


def build(given: argparse.Namespace) -> Dict[str, Any]:
    """changed, path, warm, reason, seconds."""
    started = time.monotonic()
    there = sealed.sound(given.out, given.key)
    cold = no_room(given.flags)
    if there and (there.get("warm") or cold):
        return {
            "changed": False,
            "path": str(given.out),
            "warm": bool(there.get("warm")),
            "reason": cold,
            "seconds": 0.0,
        }
    with sealed.alone(given.out) as partial:
        (partial / FOLDER).mkdir()
        if not cold:
            compile_into(given, partial / FOLDER)
        (partial / NOTE).write_text(json.dumps({"warm": not cold, "reason": cold}) + "\n")
        sealed.seal(partial, given.out, record(given, BUILDER, VERSION, warm=not cold, reason=cold))
    seconds = round(time.monotonic() - started, 1)
    return {"changed": True, "path": str(given.out), "warm": not cold, "reason": cold, "seconds": seconds}


def no_room(flags: Dict[str, Any]) -> str:
    """Why nothing can be compiled now; "" when it can."""
    if int(flags["nodes"]) > 1:
        return f"{flags['nodes']} hosts are one engine: the first start compiles"
    found = gpus(flags["devices"])
    if not found:
        return "no GPU answers"
    for gpu in found:
        total, used = float(gpu["memory.total"] or 0), float(gpu["memory.used"] or 0)
        if total <= 0 or (total - used) / total < float(flags["memory_fraction"]):
            return f"GPU {gpu['index']} has {used:.0f} of {total:.0f} MiB in use: the first start compiles"
    return ""


def compile_into(given: argparse.Namespace, cache: Path) -> None:
    """Start, ask, stop; as the service user, who owns the cache for as long. Raises BuildError."""
    user = pwd.getpwnam(filled.USER)
    os.chown(str(cache), user.pw_uid, user.pw_gid)
    launch, port = given.flags["launch"], free_port()
    runtime = Path(sys.executable).parent.parent
    place = {"ADDRESS": "127.0.0.1", "PORT": str(port)}
    known = filled.words(place, given.out, cache, f"dsdeploy-warm-{given.key}")
    known.update(RUNTIME=str(runtime), WEIGHTS=str(given.weights), BUILD=str(given.out))
    argv, environment = filled.command(launch, known)
    progress = Progress(words.PHASES, words.FATAL, float(launch["patience"]), time.monotonic())
    runs_as = None if launch["wrap"] else user  # podman is root's; inside it is the user all the same
    child = Child(argv, environment, lambda text: progress.line(text, time.monotonic()), runs_as)
    try:
        model = argv[argv.index("--served-model-name") + 1]
        wait(child, progress, (port, model), cache)
    finally:
        child.stop(20.0)


def wait(child: Child, progress: Progress, question: Tuple[int, str], cache: Path) -> None:
    port, model = question
    while True:
        now = time.monotonic()
        if child.ended() is not None:
            raise BuildError(progress.why or f"the engine ended with {child.ended()} while {progress}", "warm-up")
        progress.grown(child.growth(cache), now)
        stalled = progress.stalled(now)
        if stalled:
            raise BuildError(stalled, "warm-up")
        try:
            ask.get("127.0.0.1", port, "/health", timeout=5)
            return ask.complete("127.0.0.1", port, model, timeout=progress.patience)
        except ask.Silent:
            time.sleep(2.0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(build))
