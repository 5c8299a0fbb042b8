"""Start ansible-playbook and read its events. Nothing else starts it.

One run brings the hosts it is limited to into one state; which hosts, in which
order, and whether to go on is decided by the caller.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

from dsdeploy import events, paths
from dsdeploy.errors import HostUnreachable, PlaybookFailed
from dsdeploy.runs import Run

POLL_SECONDS = 0.2
OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Play:
    """One start of ansible-playbook: which playbook, on which inventory, limited to which hosts."""

    name: str
    inventory: Path
    limit: tuple[str, ...] = ()
    verbosity: int = 0


def command(play: Play) -> list[str]:
    """The argv, as data. Site values travel in the inventory only, never here."""
    words = [sys.executable, "-m", "ansible", "playbook", "--inventory", str(play.inventory)]
    if play.limit:
        words += ["--limit", ",".join(play.limit)]
    if play.verbosity:
        words += ["-" + "v" * min(play.verbosity, 4)]
    return [*words, str(paths.PLAYBOOKS / f"{play.name}.yml")]


def environment(events_file: Path, control: Path) -> dict[str, str]:
    """What Ansible needs, and nothing from the operator's shell that would change its behaviour."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return kept | {
        "ANSIBLE_CONFIG": str(paths.PLAYBOOKS / "ansible.cfg"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(control),
        "ANSIBLE_LOCAL_TEMP": str(control / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
        "DSDEPLOY_EVENTS": str(events_file),
        "PYTHONWARNINGS": "ignore",
    }


@contextmanager
def connections() -> Iterator[Path]:
    """A private folder for SSH control sockets, shared by the plays of one command.

    It is short on purpose: a socket's path may have 104 characters at most. The
    masters are told to leave at the end, so none outlives the command.
    """
    with tempfile.TemporaryDirectory(prefix="dsd-", ignore_cleanup_errors=True) as folder:
        try:
            yield Path(folder)
        finally:
            for socket in Path(folder).iterdir():
                if socket.is_socket():
                    words = ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "dsdeploy"]
                    subprocess.run(words, capture_output=True, check=False, timeout=10)


def run(play: Play, record: Run, control: Path, on_event: OnEvent | None = None) -> events.Outcome:
    """Run one play to its end and return what it did; events and log go to the run's folder.

    Raises HostUnreachable or PlaybookFailed with one problem for each host that
    did not come through; what the others did stays done.
    """
    stream, log_path = record.events(play.name), record.log(play.name)
    stream.touch(mode=0o600)
    start = stream.stat().st_size
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command(play),
            env=environment(stream, control),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            seen = _follow(process, stream, start, on_event)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    outcome = events.outcome(seen)
    if process.returncode == 0:
        return outcome
    if outcome.unreachable:
        raise HostUnreachable(events.problems(outcome.unreachable, play.name, log_path))
    if outcome.failed:
        raise PlaybookFailed(events.problems(outcome.failed, play.name, log_path))
    raise PlaybookFailed([events.unexplained(play.name, process.returncode, log_path)])


def _follow(
    process: subprocess.Popen[bytes], stream: Path, start: int, on_event: OnEvent | None
) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    with stream.open(encoding="utf-8") as lines:
        lines.seek(start)
        reader = events.Reader(lines)
        while True:
            ended = process.poll() is not None
            for event in reader.new():
                seen.append(event)
                if on_event:
                    on_event(event)
            if ended:
                return seen
            sleep(POLL_SECONDS)


def together(plays: Sequence[Callable[[], events.Outcome]]) -> list[events.Outcome]:
    """Run several plays at the same time, wait for all of them, then raise the first failure in order."""
    with ThreadPoolExecutor(max_workers=max(1, len(plays))) as pool:
        futures = [pool.submit(play) for play in plays]
    return [future.result() for future in futures]
