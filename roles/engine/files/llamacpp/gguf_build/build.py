"""The whole of a build: reuse what is sound, set aside what is damaged, else build, seal and put in place."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFWriter

from gguf_build import (
    BUILDER,
    VERSION,
    checkpoint,
    encode,
    metadata,
    place,
    seal,
    settings,
    stream,
    tensors,
    vocabulary,
)
from gguf_build.errors import BuildError

FLAGS = ("tokenizer_pre",)
KNOWN_ANSWERS = "known_answers.json"


@dataclass(frozen=True)
class Order:
    """What is to be built. `key`, `weights_digest` and `hardware` are the caller's; they are recorded."""

    weights: Path
    final: Path
    precision: str
    key: str
    weights_digest: str
    hardware: str
    flags: Mapping[str, Any]
    deep: bool = False


def run(order: Order) -> dict[str, Any]:
    """Make sure a sound artefact is at `order.final`. Gives what was done; BuildError when it could not be.

    changed (bool), path, bytes (of the model), seconds, reason (why it was built), notes (list of str), and
    damaged (where a damaged one was put, or null).
    """
    started = time.monotonic()
    unknown = sorted(set(order.flags) - set(FLAGS))
    if unknown:
        raise BuildError(f"unknown flag {unknown[0]}", "--flags", f"known: {', '.join(FLAGS)}")
    fault = _fault(order)
    notes: list[str] = []
    damaged = None
    if fault:
        with place.alone(order.final) as partial:
            fault = _fault(order)  # another build may have finished while we waited
            if fault:
                notes = _make(order, partial)
                damaged = str(place.set_aside(order.final)) if os.path.lexists(order.final) else None
                place.publish(partial, order.final)
    return {
        "changed": bool(fault),
        "path": str(order.final),
        "bytes": (order.final / seal.MODEL).stat().st_size,
        "seconds": round(time.monotonic() - started, 3),
        "reason": fault,
        "notes": notes,
        "damaged": damaged,
    }


def _fault(order: Order) -> str:
    if not os.path.lexists(order.final):
        return "not built yet"
    return seal.fault(order.final, order.key, order.deep)


def _make(order: Order, partial: Path) -> list[str]:
    """Build into `partial`; gives notes. A full disk is reported with what it would have taken."""
    source = checkpoint.load(order.weights)
    shape = settings.read(source.config)
    words = vocabulary.read(order.weights, source.config, order.flags.get("tokenizer_pre"))
    planned, notes = tensors.plan(source, shape)
    typed = [(tensor, encode.kind(tensor, order.precision)) for tensor in planned]
    model = partial / seal.MODEL
    writer = GGUFWriter(None, metadata.ARCHITECTURE)
    metadata.add(writer, _name(source.config), shape, words, order.precision)
    needed = sum(encode.size(tensor.shape, kind) for tensor, kind in typed)
    try:
        _room(partial, needed)
        needed = stream.header(writer, model, typed)
        digest = stream.tensors(source, model, typed, _progress(needed))
        model.chmod(0o644)
        partial.chmod(0o755)
        seal.write(partial, _sealed(order, model, digest))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            where = str(error.filename or partial)
            raise BuildError(f"cannot write the build: {error.strerror}", where) from error
        raise _full(partial, needed) from error
    return notes


def _name(config: Mapping[str, Any]) -> str:
    return str(config.get("_name_or_path") or config.get("model_type") or metadata.ARCHITECTURE)


def _room(partial: Path, needed: int) -> None:
    """Refuse before writing what cannot fit."""
    if _free(partial) < needed:
        raise _full(partial, needed)


def _free(path: Path) -> int:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def _full(partial: Path, needed: int) -> BuildError:
    gone = sum(path.stat().st_size for path in partial.iterdir())
    free = _free(partial) + gone
    what = f"the disk is full: the build takes {needed} bytes, {free} are free"
    hint = f"free {max(0, needed - free)} bytes there, or choose a smaller precision"
    return BuildError(what, str(partial.parent), hint)


def _progress(total: int) -> Callable[[str, int], None]:
    """One line a percent at most, on stderr."""
    shown = -1

    def report(name: str, done: int) -> None:
        nonlocal shown
        percent = 100 * done // max(1, total)
        if percent > shown:
            shown = percent
            print(f"{percent:3d} % {done} of {total} bytes, {name}", file=sys.stderr, flush=True)

    return report


def _sealed(order: Order, model: Path, digest: str) -> dict[str, Any]:
    size = model.stat().st_size
    return {
        "key": order.key,
        "weights_digest": order.weights_digest,
        "builder": BUILDER,
        "builder_version": VERSION,
        "precision": order.precision,
        "hardware": order.hardware,
        "flags": dict(order.flags),
        "files": [{"path": seal.MODEL, "size": size, "sha256": digest, **seal.stamp(model)}],
        "known_answers": _known_answers(order),
    }


def _known_answers(order: Order) -> list[dict[str, Any]]:
    """Those of the weights that hold at this precision; an entry that names no precisions holds at all."""
    path = order.weights / KNOWN_ANSWERS
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        held = [entry for entry in entries if order.precision in entry.get("precisions", (order.precision,))]
        return [
            {"prompt": str(one["prompt"]), "max_tokens": int(one["max_tokens"]), "answer": str(one["answer"])}
            for one in held
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"{KNOWN_ANSWERS} is malformed: {error}", str(path)) from error
