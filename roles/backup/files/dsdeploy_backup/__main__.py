"""Options in; one JSON document, or a few lines, out."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from . import config as configuration
from . import look, place
from .config import Config
from .errors import DONE, FAILED, Trouble
from .nightly import nightly
from .restore import restore
from .run import run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dsdeploy_backup", description=__doc__)
    parser.add_argument("--config", type=Path, default=configuration.FILE, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--wait", type=float, help="seconds to wait for another backup, or for a switch")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run", help="make, prove and copy one snapshot").add_argument("--full", action="store_true")
    verbs.add_parser("list", help="snapshots, and whether they are good")
    verbs.add_parser("verify", help="restore and compare every snapshot, read every pack")
    verbs.add_parser("rehearse", help="restore the newest from offsite into a scratch folder, and replay ZooKeeper")
    verbs.add_parser("nightly", help="read a seventh of the weights and builds again")
    back = verbs.add_parser("restore", help="bring files back, in place or into a folder")
    back.add_argument("snapshot", nargs="?", default="", help="its number or id; else the newest good one")
    back.add_argument("--to", default="", help="a folder that is not there yet")
    back.add_argument("--what", action="append", default=[], help="a set, as in zookeeper; else all")
    back.add_argument("--from", dest="source", choices=("auto", "local", "offsite"), default="auto")
    back.add_argument("--replace", action="store_true", help="stop what runs on these files, and start it again")
    back.add_argument("--no-start", action="store_true", help="leave a ZooKeeper member stopped")
    back.add_argument("--start", action="store_true", help="start it even where it did not run")
    verbs.add_parser("start", help="start what runs on a set's files").add_argument("name")
    return parser


def _verb(options: argparse.Namespace, config: Config, say: Callable[[str], None]) -> Dict[str, Any]:
    if options.verb == "run":
        return run(config, say, options.full)
    if options.verb == "list":
        return look.listing(config)
    if options.verb == "restore":
        return restore(config, say, options.snapshot, options.what, options.to, options.source, options.replace,
                       not options.no_start, options.start)  # fmt: skip
    if options.verb == "start":
        return place.start(config, options.name)
    if options.verb == "nightly":
        return nightly(config, say)
    return look.verify(config, say) if options.verb == "verify" else look.rehearse(config, say)


def main(argv: Optional[List[str]] = None) -> int:
    """Exit code: 0 done, 1 failed, 2 not configured, 6 good here but not offsite, 75 busy."""
    options = _parser().parse_args(argv)
    os.umask(0o077)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        config = configuration.load(options.config)
        if options.wait is not None:
            config = Config(**{**config.__dict__, "wait": options.wait})
        document = _verb(options, config, say)
        code = int(document.pop("code", DONE if document.get("ok") else FAILED))
    except Trouble as error:
        document, code = error.document(), error.code
        say("\n".join(part for part in (f"error: {error.what}", error.where and f"   at: {error.where}",
                                        error.hint and f"  try: {error.hint}") if part))  # fmt: skip
    except OSError as error:
        trouble = Trouble(f"the system refuses: {error.strerror or error}", str(error.filename or ""), "df -h")
        document, code = trouble.document(), FAILED
        say(f"error: {trouble.what}\n   at: {trouble.where}")
    if options.json:
        print(json.dumps(document, sort_keys=True))
    elif options.verb == "list" and "snapshots" in document:
        for one in document["snapshots"]:
            print(f"{one['sequence']:5} {one['snapshot'][:8]} {one['kind']:11} {one['at']} {one['state']}")
    return code


if __name__ == "__main__":
    sys.exit(main())
