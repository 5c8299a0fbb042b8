"""``python3 -m dsdeploy_weights pull|verify``: options in, one JSON document or a few lines out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from . import build, job
from .address import from_address
from .errors import Refused
from .files import read_json
from .layout import BUILDS, STATE, WEIGHTS, Layout
from .limits import Limits
from .pull import Pull
from .verify import Verify


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dsdeploy_weights", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    pull = verbs.add_parser("pull", help="bring a version to this host; resumes, repairs, or changes nothing")
    pull.add_argument("--source", required=True, help="http(s) URL of the version, or a directory on this host")
    pull.add_argument("--check", action="store_true", help="say what would be done; write nothing")
    pull.add_argument("--timeout", type=float, default=30.0, help="seconds of silence before a transfer is tried again")
    verify = verbs.add_parser("verify", help="read again what is here; touched files only, unless --deep")
    verify.add_argument("--quick", action="store_true", help="look at stat only; write nothing")
    verify.add_argument("--deep", action="store_true", help="read every file")
    verify.add_argument("--builds", action="store_true", help="also every build on this host")
    verify.add_argument("--job", default="", help="work on in the background under this id; ask again with it")
    verify.add_argument("--within", type=float, default=20.0, help="seconds to wait for the answer of a job")
    for verb in (pull, verify):
        verb.add_argument("--model", required=True)
        verb.add_argument("--version", required=True)
        verb.add_argument("--file", action="append", default=[], help="read this file whatever its stamp says")
        verb.add_argument("--json", action="store_true", help="print JSON")
        verb.add_argument("--threads", type=int, default=4)
        verb.add_argument("--wait", type=float, default=86400.0, help="seconds to wait for another pull")
        verb.add_argument("--weights", type=Path, default=WEIGHTS, help=argparse.SUPPRESS)
        verb.add_argument("--builds-root", type=Path, default=BUILDS, help=argparse.SUPPRESS)
        verb.add_argument("--state", type=Path, default=STATE, help=argparse.SUPPRESS)
    return parser


def _pull(options: argparse.Namespace, layout: Layout) -> Tuple[int, Dict[str, Any]]:
    limits = Limits(threads=max(1, options.threads), timeout_s=options.timeout)
    source = from_address(options.source, options.timeout)
    request = Pull(layout, source, limits, frozenset(options.file), options.wait)
    return 0, request.check() if options.check else request.run()


def _verify(options: argparse.Namespace, layout: Layout) -> Tuple[int, Dict[str, Any]]:
    def work() -> Dict[str, Any]:
        try:
            return _reading(options, layout)
        except Refused as error:
            return {**error.document(), "ok": False}

    if options.job:
        result = job.answer(options.state / "jobs", options.job, options.within, work)
        if result.get("running"):
            result["progress"] = read_json(layout.progress)
    else:
        result = _reading(options, layout)
    return 0 if result.get("running") or result["ok"] else 1, result


def _reading(options: argparse.Namespace, layout: Layout) -> Dict[str, Any]:
    threads = max(1, options.threads)
    only = frozenset(options.file)
    result = Verify(layout, options.quick, options.deep, only, threads, options.wait).run()
    if options.builds:
        result["builds"] = build.verify_all(options.builds_root, options.state, deep=options.deep, threads=threads)
        result["ok"] = result["ok"] and all(each["ok"] for each in result["builds"])
    return result


def _lines(document: Dict[str, Any]) -> str:
    if "text" in document:
        return f"error: {document['text']}"
    if document.get("running"):
        return "still reading: ask again with the same job id"
    if "state" in document:
        lines = [f"{document['model']} {document['version']}: {document['state']}"]
        return "\n".join(lines + [f"  note: {note}" for note in document["notes"]])
    lines = []
    for part in [document, *document.get("builds", [])]:
        lines.append(f"{part['where']}: {'good' if part['ok'] else 'bad'}, {part['read']} files read")
        lines += [f"  {p['path']}: {p['kind']}: wanted {p['wanted']}, got {p['got']}" for p in part["problems"]]
    return "\n".join(lines)


def main(argv: Optional[List[str]] = None) -> int:
    """Exit code; the document goes to stdout whatever happens, so that a caller never has to guess."""
    options = _parser().parse_args(argv)
    os.umask(0o022)
    try:
        layout = Layout(options.model, options.version, options.weights, options.state)
        code, document = _pull(options, layout) if options.verb == "pull" else _verify(options, layout)
    except Refused as error:
        code, document = 1, error.document()
    except OSError as error:
        where = str(error.filename or "")
        code, document = 1, Refused(f"the system refuses: {error.strerror or error}", where).document()
    except KeyboardInterrupt:
        code, document = (
            130,
            Refused("interrupted", hint="run it again: it continues where it stopped").document(),
        )
    except Exception as error:  # noqa: BLE001  the one place: a bug must still answer with JSON
        print(traceback.format_exc(), file=sys.stderr)
        code, document = 3, Refused(f"a bug: {error.__class__.__name__}: {error}").document()
    print(json.dumps(document, sort_keys=True) if options.json else _lines(document))
    return code


if __name__ == "__main__":
    sys.exit(main())
