"""Rotate this host's logs, keep all of them together below a bound, and say so in numbers. Python >= 3.8.

logrotate does the rotating. What it does not do is here: a state file that a full disk truncated is put aside (for
good, an older logrotate would rotate nothing any more), a total over all logs, the oldest of which go first, and a
live log that no rotation makes smaller, because the disk has no room for its copy: all but its end is cut away.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

from logs_bound import alone, live, live_size, relieve, remove, rotated, surplus

SETTINGS = Path("/etc/dsdeploy/logrotate/logs.json")
LOCK = "lock"  # beside the state file
HEAD = re.compile(r"logrotate state -- version [12]")
LINE = re.compile(r'"[^"\n]+" \d{4}-\d{1,2}-\d{1,2}(-\d{1,2}:\d{1,2}:\d{1,2})?')
LIMIT = 3000.0
FULL = re.compile(r"No space left on device|Disk quota exceeded")


def sound(text: str) -> bool:
    """Whether a state file was written to its end. An empty one is as good as none."""
    lines = text.split("\n")
    if not text:
        return True
    return lines[-1] == "" and bool(HEAD.fullmatch(lines[0])) and all(LINE.fullmatch(line) for line in lines[1:-1])


def mend(state: Path, now: float) -> str:
    """Put a damaged state file aside. What was done, "" when it is in order or not there."""
    try:
        with open(str(state), encoding="utf-8", errors="replace") as stream:
            if sound(stream.read()):
                return ""
    except FileNotFoundError:
        return ""
    aside = state.with_name("%s.damaged-%d" % (state.name, now))
    os.replace(str(state), str(aside))
    return f"the state file was damaged: moved to {aside}, rotation begins anew"


def check(config: str) -> List[str]:
    """What logrotate has against a configuration. Its exit code says nothing of an option that it does not know."""
    argv = ["logrotate", "--debug", "--state", "/dev/null", config]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = done.stdout.decode("utf-8", "replace").splitlines()
    wrong = [line for line in said if line.startswith("error:")]
    return wrong or ([f"logrotate --debug ended with {done.returncode}"] if done.returncode else [])


def rotate(config: str, state: Path) -> Tuple[bool, List[str]]:
    """Have logrotate do its work: whether all went well, and its complaints."""
    argv = ["logrotate", "--state", str(state), config]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=LIMIT, check=False)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, [f"logrotate: {error}"]
    said = done.stdout.decode("utf-8", "replace").splitlines()
    return done.returncode == 0, [line for line in said if line.startswith("error")][:10]


def metrics(values: Dict[str, Tuple[str, float]]) -> str:
    lines = []
    for name, (meaning, value) in values.items():
        lines += [f"# HELP dsdeploy_logs_{name} {meaning}", f"# TYPE dsdeploy_logs_{name} gauge"]
        lines += [f"dsdeploy_logs_{name} {value:.15g}"]
    return "\n".join(lines) + "\n"


def put(path: Path, text: str) -> str:
    """The metrics' file, whole or not at all; "" or why not: a full disk is what this program is there for."""
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.write_text(text, encoding="ascii")
        draft.chmod(0o644)
        os.replace(str(draft), str(path))
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        return f"the metrics could not be written: {error.strerror}"
    return ""


def main(settings: Path = SETTINGS) -> int:
    """0 when all went well; 1 with words on stderr else. The cap is kept in either case."""
    given = json.loads(settings.read_text(encoding="utf-8"))
    with alone(Path(given["state"]).with_name(LOCK), wait=True):
        return run(given)


def run(given: Dict[str, Any]) -> int:
    state, patterns, total = Path(given["state"]), list(given["logs"]), int(given["total"])
    size = int(given.get("file", 0))
    words = [mend(state, time.time())]
    # first: on a full disk there is no room to rotate in, and a log is there twice while it is copied
    copied = min(size, max((one.size for one in live(patterns)), default=0))
    freed, complaints = remove(surplus(rotated(patterns), live_size(patterns) + copied, total))
    good, said = rotate(given["config"], state)
    more, others = remove(surplus(rotated(patterns), live_size(patterns), total))
    if freed + more:
        words.append(f"{(freed + more) >> 10} KiB of old logs removed: all together may take {total >> 20} MiB")
    cuts = relieve(patterns, total, size if any(FULL.search(line) for line in said) else 0)
    old = sum(one.size for one in rotated(patterns))
    values = {
        "last_run_timestamp_seconds": ("When logs were last looked at.", round(time.time())),
        "last_run_success": ("1 when logrotate had no complaint.", float(good)),
        "bytes": ("All logs, old and live.", old + live_size(patterns)),
        "limit_bytes": ("What they may take.", total),
        "removed_bytes": ("What had to go this time.", freed + more + sum(one.gone for one in cuts)),
        "state_damaged": ("1 when the state file was put aside.", float(bool(words[0]))),
    }
    words += [*complaints, *said, *others, *(one.said("it could not be rotated") for one in cuts)]
    for word in [*words, put(Path(given["metrics"]), metrics(values))]:
        if word:
            print(word, file=sys.stderr)
    return 0 if good and not complaints and not others else 1


def refuse(config: str) -> int:
    """Whether the rules may take the place of those that work: 0, or 1 with logrotate's words."""
    wrong = check(config)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(refuse(sys.argv[2]) if sys.argv[1:2] == ["--check"] else main())
