"""Where words are to be seen on a machine. A program, run on a host and on this computer; the words come on stdin, a
line each, and an empty line after them, so that no command line has them by this.

canary.py processes: command lines and environments of all processes, over and over until stdin ends.
canary.py files FOLDER…: regular files below, and compressed logs of this machine.
canary.py everywhere: all files of the machine, the journal, and what systemd says of its units.
Prints {"found": [[number of the word, where], …], "seen": [names of programs that ran], "rounds"}.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

PROC = Path("/proc")
KERNEL = {"proc", "sys", "dev"}
PAUSE_S = 0.002
Found = set[tuple[int, str]]


def read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:  # it is gone, or a kernel thread's
        return b""


def processes(words: list[bytes]) -> dict[str, object]:
    """Until nobody holds the other end of stdin any more. This process itself is passed over."""
    found: Found = set()
    seen, rounds, own = set(), 0, str(os.getpid())
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        rounds += 1
        for pid in [place.name for place in PROC.iterdir() if place.name.isdigit() and place.name != own]:
            name = read(f"/proc/{pid}/comm").decode(errors="replace").strip()
            seen.add(name)
            for part in ("cmdline", "environ"):
                text = read(f"/proc/{pid}/{part}")
                found |= {(number, f"{part} of {name}") for number, word in enumerate(words) if word in text}
    return {"found": sorted(found), "seen": sorted(seen), "rounds": rounds}


def files(words: list[bytes], folders: list[str]) -> Found:
    """grep finds the files, in any of which any word is; which, is asked of these few."""
    argv = ["grep", "-rlaF", "-D", "skip", "-f", "-", *folders]
    done = subprocess.run(argv, input=b"\n".join(words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    found = {
        (number, os.fsdecode(path))
        for path in done.stdout.splitlines()
        for number, word in enumerate(words)
        if word in read(os.fsdecode(path))
    }
    for path in Path("/var/log").rglob("*.gz"):
        with contextlib.suppress(OSError, EOFError):  # half written
            text = gzip.decompress(path.read_bytes())
            found |= {(number, str(path)) for number, word in enumerate(words) if word in text}
    return found


def said(words: list[bytes], where: str, *argv: str) -> Found:
    text = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    return {(number, where) for number, word in enumerate(words) if word in text}


def everywhere(words: list[bytes]) -> Found:
    """All of this machine's but what the kernel makes up."""
    found = files(words, [*(str(place) for place in Path("/").iterdir() if place.name not in KERNEL), "/dev/shm"])
    found |= said(words, "journal", "journalctl", "--no-pager", "-q", "-o", "export")
    units = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "dsdeploy-*", "drill-*"]
    for line in subprocess.run(units, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines():
        unit = line.split()[0]
        found |= said(words, f"systemd: {unit}", "systemctl", "show", "--all", unit)
    return found


def main(verb: str, *folders: str) -> dict[str, object]:
    words = []
    for line in sys.stdin:
        if line == "\n":
            break
        words.append(line.strip().encode())
    if verb == "processes":
        print("ready", flush=True)
        return processes(words)
    began = time.monotonic()
    found = files(words, list(folders)) if verb == "files" else everywhere(words)
    return {"found": sorted(found), "seen": [], "rounds": 1, "seconds": time.monotonic() - began}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
