"""Command line: one JSON object on stdout, progress on stderr.

Done, exit 0: {"changed": …, "path", "bytes", "seconds", "reason", "notes", "damaged"}.
Refused or failed, exit 1: {"what", "where", "hint"}; nothing half-built is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from gguf_build.errors import BuildError


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gguf_build", description="DeepSeek safetensors shards to GGUF.")
    parser.add_argument("--weights", type=Path, required=True, help="folder of the verified checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="final folder of the artefact")
    parser.add_argument("--precision", choices=("f32", "f16", "q8_0", "q4_0"), required=True)
    parser.add_argument("--key", required=True, help="the build's key, recorded and compared")
    parser.add_argument("--weights-digest", required=True, help="digest of the weights, recorded")
    parser.add_argument("--hardware", required=True, help="what the artefact is for, recorded")
    parser.add_argument("--flags", type=_flags, default={}, help='JSON, e.g. {"tokenizer_pre": "gpt-2"}')
    parser.add_argument("--deep", action="store_true", help="hash an existing artefact, stamp or not")
    return parser.parse_args()


def _flags(text: str) -> dict[str, Any]:
    flags = json.loads(text)
    if not isinstance(flags, dict):
        raise ValueError("not a JSON object")
    return flags


def main() -> int:
    """Exit code. A TERM ends as an interrupt does: the partial folder is removed on the way out."""
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.umask(0o022)
    try:
        from gguf_build import build

        order = build.Order(
            weights=given.weights,
            final=given.out,
            precision=given.precision,
            key=given.key,
            weights_digest=given.weights_digest,
            hardware=given.hardware,
            flags=given.flags,
            deep=given.deep,
        )
        print(json.dumps(build.run(order), ensure_ascii=False))
    except ImportError as error:
        return _failed(f"the runtime's venv lacks {error.name}", sys.executable, "")
    except BuildError as error:
        return _failed(error.what, error.where, error.hint)
    except OSError as error:  # a full or read-only disk, a folder of somebody else's
        where = str(error.filename or given.out)
        return _failed(f"the build cannot be made: {error.strerror or error}", where, f"ls -ld {where}; df -h {where}")
    return 0


def _failed(what: str, where: str, hint: str) -> int:
    print(json.dumps({"what": what, "where": where, "hint": hint}, ensure_ascii=False))
    return 1


if __name__ == "__main__":
    sys.exit(main())
