"""A folder's size, sampled while a log in it, or the journal, is written without a pause. A program, run on a host.

flood.py FOLDER file PATH BYTES RATE: that many bytes, appended at no more than RATE a second.
flood.py FOLDER run WORD…: whatever this command writes.
Prints {"peak", "last": bytes on disk, "rate": bytes written in the fastest second, "seconds", "samples"}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

PIECE = 1 << 20
EVERY_S, AFTER_S = 0.02, 5.0  # between two samples; how long after the last byte


def taken(folder: str) -> int:
    """Bytes on disk of all below the folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                seen = os.lstat(os.path.join(place, name))
            except FileNotFoundError:
                continue
            total += min(seen.st_size, seen.st_blocks * 512)
    return total


def write(path: str, size: int, rate: int) -> int:
    """Append `size` bytes that do not get smaller by compression; those of the fastest second."""
    line = os.urandom(PIECE // 2).hex().encode()[:-1] + b"\n"
    times, began = [], time.monotonic()
    with open(path, "ab", buffering=0) as log:
        for piece in range(1, size // PIECE + 1):
            log.write(line)
            times.append(time.monotonic())
            time.sleep(max(0.0, began + piece * PIECE / rate - times[-1]))
    first, fastest = 0, 0
    for last, at in enumerate(times):
        while at - times[first] > 1.0:
            first += 1
        fastest = max(fastest, last - first + 1)
    return fastest * PIECE


def main(folder: str, kind: str, *words: str) -> dict[str, float]:
    began, peak, samples = time.monotonic(), 0, 0
    argv = [sys.executable, "-c", os.environ["FLOOD"], folder, "write", *words] if kind == "file" else list(words)
    child = subprocess.Popen(argv, stdout=subprocess.PIPE)
    ended = 0.0
    while not ended or time.monotonic() - ended < AFTER_S:
        if not ended and child.poll() is not None:
            ended = time.monotonic()
        peak, samples = max(peak, taken(folder)), samples + 1
        time.sleep(EVERY_S)
    said = child.communicate()[0]
    if child.returncode:
        sys.exit(child.returncode)
    return {"peak": peak, "last": taken(folder), "rate": int(said or 0), "seconds": ended - began, "samples": samples}


if __name__ == "__main__":
    if sys.argv[2] == "write":
        print(write(sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
    else:
        print(json.dumps(main(*sys.argv[1:])))
