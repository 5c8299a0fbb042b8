"""python -m tests.load --target ADDRESS:PORT --rate 25 --model NAME --out FILE [--seconds N]

Runs until SIGTERM or SIGINT (or --seconds), lets open requests end (30 s at most), and leaves one JSON line a
request in FILE. Exit 0 whatever the answers were: `judge.py` judges.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
from pathlib import Path
from typing import TextIO

from .generator import Generator, Load


def parse() -> tuple[Load, Path]:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--target", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--rate", required=True, type=float, help="requests a second")
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--timeout", type=float, default=15.0, help="seconds from the due time until it is given up")
    words = parser.parse_args()
    host, _, port = words.target.rpartition(":")
    load = Load(host.strip("[]"), int(port), words.rate, words.model, words.seconds, words.timeout)
    return load, words.out


async def serve(load: Load, out: TextIO) -> None:
    generator = Generator(load, out)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, generator.stopping.set)
    await generator.run()


def main() -> None:
    load, path = parse()
    gc.freeze()  # what is imported stays; collections in the middle of a measurement stay short
    with path.open("w", buffering=1) as out:
        asyncio.run(serve(load, out))


if __name__ == "__main__":
    main()
