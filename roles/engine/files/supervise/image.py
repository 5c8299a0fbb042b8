"""A runtime that is a container image: pulled by digest, and a folder that looks like any other runtime.

    image.py --image NAME@sha256:… --out DIR

DIR gets bin/python (the host's, for the program that supervises) and the marker ``.complete``. A host that cannot
reach the registry has the image from ``podman load`` or a mirror before. Prints JSON; exit 1 says why on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List

CDI = ("/etc/cdi", "/var/run/cdi")


class Failed(Exception):
    """A step that cannot be done; the message is for the operator."""


def podman(*words: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("podman")
    if not program:
        raise Failed("podman is not installed; try: install the package podman, 4.4 or newer")
    return subprocess.run([program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)


def devices(folders: "tuple[str, ...]" = CDI) -> List[str]:
    """Files that tell podman of the GPUs (CDI). Raises Failed when there is none."""
    found = [str(path) for folder in folders for path in sorted(Path(folder).glob("nvidia*"))]
    if not found:
        raise Failed("no CDI file describes the GPUs; try: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml")
    return found


def present(image: str) -> None:
    """The image is on the host, and the GPUs can be given to it. Raises Failed."""
    if "@sha256:" not in image:
        raise Failed(f"{image} is not named by digest")
    devices()
    if podman("image", "exists", image).returncode != 0:
        done = podman("pull", "--quiet", image)
        if done.returncode != 0:
            raise Failed(f"cannot pull {image}: {(done.stderr.strip().splitlines() or ['podman failed'])[-1]}")


def ensure(image: str, out: Path) -> None:
    """The image, and the folder of a runtime. Raises Failed."""
    present(image)
    (out / "bin").mkdir(parents=True, exist_ok=True)
    link = out / "bin" / "python"
    if not link.is_symlink():
        link.symlink_to(sys.executable)
    text = json.dumps({"image": image, "python": sys.version.split()[0]}) + "\n"
    partial = out / ".complete.partial"
    partial.write_text(text)
    os.replace(str(partial), str(out / ".complete"))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    os.umask(0o022)
    try:
        ensure(given.image, given.out)
    except (Failed, OSError) as error:
        print(str(error), file=sys.stderr)
        return 1
    print(json.dumps({"changed": True}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
