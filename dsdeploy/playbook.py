"""Start ansible-playbook and read its events. Nothing else starts it.

One run brings the hosts it is limited to into one state; which hosts, in which
order, and whether to go on is decided by the caller.

Ansible runs in a session of its own: a Ctrl-C at the terminal reaches this process alone, which ends the
play in order. And Ansible watches the process that started it ($DSDEPLOY_CONTROLLER), which is this one, or one
that ends with it (dsdeploy.warm): where it is killed, Ansible ends too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsdeploy import events, paths, warm
from dsdeploy.control import connections
from dsdeploy.errors import Fenced, HostUnreachable, PlaybookFailed
from dsdeploy.runs import Run

__all__ = ["OnEvent", "Play", "command", "connections", "environment", "run", "together"]

POLL_SECONDS = 0.2
TERM_SECONDS = 5.0  # what Ansible has to end its workers, before it is killed
OnEvent = Callable[[dict[str, Any]], None]
Process = subprocess.Popen[bytes] | warm.Playing
_playing: set[Process] = set()


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
        "DSDEPLOY_CONTROLLER": str(os.getpid()),
        "DSDEPLOY_EVENTS": str(events_file),
        "PYTHONWARNINGS": "ignore",
    }


def run(play: Play, record: Run, control: Path, on_event: OnEvent | None = None) -> events.Outcome:
    """Run one play to its end and return what it did; events and log go to the run's folder.

    Raises HostUnreachable or PlaybookFailed with one problem for each host that
    did not come through; what the others did stays done. Raises Fenced, and ends
    the play, as soon as one host says that this run was overtaken.
    """
    stream, log_path = record.events(play.name), record.log(play.name)
    stream.touch(mode=0o600)
    start = stream.stat().st_size
    process = _start(command(play), environment(stream, control), log_path, control)
    _playing.add(process)
    try:
        seen = _follow(process, stream, start, on_event)
    except _Overtaken as overtaken:
        _end(process)
        (said,) = events.problems([overtaken.event], play.name, log_path)
        raise Fenced(said.what, said.where, said.hint) from None
    except BaseException:
        _end(process)
        raise
    finally:
        _playing.discard(process)
    outcome = events.outcome(seen)
    if process.returncode == 0:
        return outcome
    if outcome.unreachable:
        raise HostUnreachable(events.problems(outcome.unreachable, play.name, log_path))
    if outcome.failed:
        raise PlaybookFailed(events.problems(outcome.failed, play.name, log_path))
    raise PlaybookFailed([events.unexplained(play.name, process.returncode or 0, log_path)])


def _start(words: list[str], environment: dict[str, str], log_path: Path, control: Path) -> Process:
    """From the command's warm process where it has one, else as a process of its own."""
    if process := warm.start(control, words[words.index("playbook") :], environment, log_path):
        return process
    with log_path.open("ab") as log:
        return subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


class _Overtaken(Exception):
    def __init__(self, event: events.Event) -> None:
        super().__init__(event["host"])
        self.event = event


def _follow(process: Process, stream: Path, start: int, on_event: OnEvent | None) -> list[dict[str, Any]]:
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
                if events.fenced(event):
                    raise _Overtaken(event)
            if ended:
                return seen
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)


def _end(process: Process) -> None:
    """Ansible and all it started on this computer. Its workers have sessions of their own, and see that it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(TERM_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def together(plays: Sequence[Callable[[], events.Outcome]]) -> list[events.Outcome]:
    """Run several plays at the same time, wait for all of them, then raise the first failure in order.

    An interrupt, and a run that was overtaken, end those that still run.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(plays))) as pool:
        futures = [pool.submit(play) for play in plays]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                if isinstance(error := future.exception(), Fenced):
                    raise error
            wait(futures)
        except BaseException:
            while wait(futures, timeout=POLL_SECONDS).not_done:  # a thread may be just about to start its play
                for process in tuple(_playing):
                    _end(process)
            raise
    return [future.result() for future in futures]
