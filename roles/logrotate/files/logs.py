"""Rotate this host's logs, keep all of them together below a bound, and say so in numbers. Python >= 3.8.

logrotate does the rotating. What it does not do is here: a state file that a full disk truncated is put aside (for
good, an older logrotate would rotate nothing any more), a total over all logs, the oldest of which go first, and a
live log that no rotation makes smaller, because the disk has no room for its copy: all but its end is cut away.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

SETTINGS = Path("/etc/dsdeploy/logrotate/logs.json")
HEAD = re.compile(r"logrotate state -- version [12]")
LINE = re.compile(r'"[^"\n]+" \d{4}-\d{1,2}-\d{1,2}(-\d{1,2}:\d{1,2}:\d{1,2})?')
# what rotation makes of a name: .1, -20261122, -20261122-1795344634, each perhaps compressed
OLD = r"(?:[.-]\d[\d-]*)(?:\.(?:gz|xz|zst))?"
NUMBER = re.compile(r"\.(\d{1,4})(?:\.(?:gz|xz|zst))?$")
LIMIT = 3000.0
FULL = re.compile(r"No space left on device|Disk quota exceeded")
TAIL = 1 << 16  # bytes of a log that stay when it is cut: what went wrong stands at its end


class Live(NamedTuple):
    """A log that is written now."""

    size: int
    path: str


class Old(NamedTuple):
    """A rotated log. `at` orders them: minus its number, as the clock may have been wrong; without one, its time."""

    at: float
    size: int
    path: str


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


def rotated(patterns: List[str]) -> List[Old]:
    """Old logs of these, oldest first."""
    found = {}
    for pattern in patterns:
        folder, name = os.path.split(pattern)
        wanted = re.compile(re.escape(name).replace(r"\*", "[^/]*") + OLD)
        for directory in glob.glob(folder):
            with contextlib.suppress(OSError):
                for entry in os.scandir(directory):
                    if wanted.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        seen = entry.stat(follow_symlinks=False)
                        number = NUMBER.search(entry.name)
                        at = -float(number.group(1)) if number else seen.st_mtime
                        found[entry.path] = Old(at, seen.st_size, entry.path)
    return sorted(found.values())


def surplus(old: List[Old], live: int, total: int) -> List[Old]:
    """The oldest, as many as must go so that the rest and the live logs fit. Pure."""
    size, gone = live + sum(one.size for one in old), []
    for one in old:
        if size <= total:
            break
        gone.append(one)
        size -= one.size
    return gone


def live(patterns: List[str]) -> List[Live]:
    """The logs that are written now, the largest first."""
    found = []
    for path in {path for pattern in patterns for path in glob.glob(pattern)}:
        with contextlib.suppress(OSError):
            found.append(Live(os.lstat(path).st_size, path))
    return sorted(found, reverse=True)


def live_size(patterns: List[str]) -> int:
    """Bytes of the logs that are written now."""
    return sum(one.size for one in live(patterns))


def cut(path: str) -> int:
    """Bytes that went: all but the end of a log that a program goes on writing. Raises OSError.

    The folder may be another user's: neither a link nor a second name of some other file is followed.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode) or seen.st_nlink != 1:
            raise OSError(errno.EPERM, "not a plain file with one name")
        end = os.pread(descriptor, TAIL, max(0, seen.st_size - TAIL))
        os.ftruncate(descriptor, 0)
        os.write(descriptor, end)
        return seen.st_size - len(end)
    finally:
        os.close(descriptor)


def relieve(patterns: List[str], total: int, stuck: int) -> Tuple[int, List[str]]:
    """Bytes cut from live logs, and what was done: the largest first, while all together are over the total.

    With `stuck` (rotation found no room) those that are larger than that, too, as long as their copy would not fit.
    """
    freed, words = 0, []
    size = live_size(patterns) + sum(one.size for one in rotated(patterns))
    for one in live(patterns):
        try:
            room = os.statvfs(one.path)
            crowded = 0 < stuck < one.size and room.f_bavail * room.f_frsize < one.size
            if one.size > TAIL and (size > total or crowded):
                gone = cut(one.path)
                freed, size = freed + gone, size - gone
                words.append(f"{one.path} was cut by {gone >> 10} KiB: it could not be rotated, its end is kept")
        except OSError as error:
            words.append(f"{one.path} could not be cut: {error.strerror}")
    return freed, words


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


def remove(old: List[Old]) -> Tuple[int, List[str]]:
    """Bytes that were freed, and what could not be removed."""
    freed, complaints = 0, []
    for one in old:
        try:
            os.unlink(one.path)
            freed += one.size
        except OSError as error:
            complaints.append(f"{one.path}: {error.strerror}")
    return freed, complaints


def main(settings: Path = SETTINGS) -> int:
    """0 when all went well; 1 with words on stderr else. The cap is kept in either case."""
    given = json.loads(settings.read_text(encoding="utf-8"))
    state, patterns, total = Path(given["state"]), list(given["logs"]), int(given["total"])
    words = [mend(state, time.time())]
    # first: on a full disk there is no room to rotate in
    freed, complaints = remove(surplus(rotated(patterns), live_size(patterns), total))
    good, said = rotate(given["config"], state)
    more, others = remove(surplus(rotated(patterns), live_size(patterns), total))
    if freed + more:
        words.append(f"{(freed + more) >> 10} KiB of old logs removed: all together may take {total >> 20} MiB")
    stuck = int(given.get("file", 0)) if any(FULL.search(line) for line in said) else 0
    shorter, cuts = relieve(patterns, total, stuck)
    old = sum(one.size for one in rotated(patterns))
    values = {
        "last_run_timestamp_seconds": ("When logs were last looked at.", round(time.time())),
        "last_run_success": ("1 when logrotate had no complaint.", float(good)),
        "bytes": ("All logs, old and live.", old + live_size(patterns)),
        "limit_bytes": ("What they may take.", total),
        "removed_bytes": ("What had to go this time.", freed + more + shorter),
        "state_damaged": ("1 when the state file was put aside.", float(bool(words[0]))),
    }
    words += [*complaints, *said, *others, *cuts, put(Path(given["metrics"]), metrics(values))]
    for word in words:
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
