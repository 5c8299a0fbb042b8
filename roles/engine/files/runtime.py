"""Make a runtime (a Python venv) from a wheelhouse, without any package index. Runs on the managed host.

    runtime.py --wheelhouse DIR --requirements FILE --out DIR --import NAME

Every wheel is checked against DIR/SHA256SUMS first. A venv cannot be moved, so it is made in place; the
marker ``.complete``, written last, says that it may be used. The wheelhouse is removed once it is in. Prints JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional

MARKER = ".complete"


class Failed(Exception):
    """A step that cannot be done; the message is for the operator."""


def checked(wheelhouse: Path) -> Dict[str, str]:
    """File name -> sha256 of every listed wheel, all verified. Raises Failed."""
    listed: Dict[str, str] = {}
    for line in (wheelhouse / "SHA256SUMS").read_text().splitlines():
        wanted, _, name = line.partition("  ")
        path = wheelhouse / name
        if not name.endswith(".whl") or os.sep in name or not path.is_file():
            raise Failed(f"the wheelhouse lacks {name!r}")
        got = hashlib.sha256(path.read_bytes()).hexdigest()
        if got != wanted:
            raise Failed(f"{name}: wanted sha256 {wanted}, got {got}")
        listed[name] = got
    return listed


def install(wheelhouse: Path, requirements: Optional[Path], out: Path, module: str) -> Dict[str, object]:
    """Make the venv, prove that the module can be imported, write the marker. Raises Failed.

    Without requirements, every wheel of the wheelhouse is one.
    """
    started = time.monotonic()
    wheels = checked(wheelhouse)
    pip = [wheelhouse / name for name in wheels if name.startswith("pip-")]
    if not pip:
        raise Failed("the wheelhouse lacks pip")
    # without pip: Debian's venv has none unless python3-venv is installed; pip runs from its own wheel
    run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(out)])
    python = str(out / "bin" / "python")
    quiet = ["--no-index", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    wanted = ["--requirement", str(requirements)] if requirements else [str(wheelhouse / name) for name in wheels]
    run([python, str(pip[0] / "pip"), "install", *quiet, "--find-links", str(wheelhouse), *wanted])
    run([python, "-c", f"import {module}"])
    record: Dict[str, object] = {"python": sys.version.split()[0], "wheels": wheels,
                                 "seconds": round(time.monotonic() - started, 1)}  # fmt: skip
    os.sync()  # thousands of small files: one sync, then the marker
    write(out / MARKER, json.dumps(record, indent=1) + "\n")
    shutil.rmtree(wheelhouse)
    return record


def run(argv: List[str]) -> None:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
                          check=False)  # fmt: skip
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv[:4])} failed: " + "\n".join(done.stdout.splitlines()[-15:]))


def write(path: Path, text: str) -> None:
    """Atomically, and on disk when this returns."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(str(partial), str(path))


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("--wheelhouse", "--out"):
        parser.add_argument(name, type=Path, required=True)
    pins = parser.add_mutually_exclusive_group(required=True)
    pins.add_argument("--requirements", type=Path)
    pins.add_argument("--every-wheel", action="store_true", help="install all that is there, instead of a list")
    parser.add_argument("--import", dest="module", required=True)
    args = parser.parse_args()
    if (args.out / MARKER).is_file():
        print(json.dumps({"changed": False}))
        return 0
    os.umask(0o022)
    try:
        record = install(args.wheelhouse, args.requirements, args.out, args.module)
    except (Failed, OSError) as error:
        print(f"{args.out}: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"changed": True, "seconds": record["seconds"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
