"""make bench-plays: what a play of one task costs on this computer alone, started the plain way and warm.

BENCH_PLAYS (10) plays each way, in turns, so that both meet the same load. CPU seconds are those of all that was
started, user and system, the warm process and its import of Ansible included; seconds are by the clock.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from dsdeploy import paths, playbook, warm
from dsdeploy.playbook import Play
from dsdeploy.runs import Run

PLAYS = int(os.environ.get("BENCH_PLAYS", "10"))
INVENTORY = f"all: {{hosts: {{here: {{ansible_connection: local, ansible_python_interpreter: {sys.executable}}}}}}}\n"
TASK = "- hosts: all\n  tasks:\n    - ansible.builtin.command: 'true'\n"


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of the children that ended meanwhile, and seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - began


def prepared(folder: Path) -> None:
    """A playbook of one task beside dsdeploy's own settings and callback."""
    (folder / "playbooks").mkdir()
    (folder / "playbooks" / "callback_plugins").symlink_to(paths.PLAYBOOKS / "callback_plugins")
    (folder / "playbooks" / "ansible.cfg").write_text((paths.PLAYBOOKS / "ansible.cfg").read_text())
    (folder / "playbooks" / "trial.yml").write_text(TASK)
    (folder / "inventory.yml").write_text(INVENTORY)
    for name in ("plain", "warm"):
        (folder / name).mkdir()
    paths.PLAYBOOKS = folder / "playbooks"


def main() -> int:
    cpu, seconds = {"plain": 0.0, "warm": 0.0}, {"plain": 0.0, "warm": 0.0}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        prepared(folder)

        def play(way: str) -> None:
            where = folder / way
            done = playbook.run(Play("trial", folder / "inventory.yml"), Run("bench", where), where)
            if done.changed != 1:
                raise SystemExit(f"a {way} play changed {done.changed} instead of 1")

        stack.enter_context(warm.kept(folder / "warm"))
        process = warm._kept[folder / "warm"]
        for _ in range(PLAYS):
            for way in cpu:
                used, took = spent(lambda way=way: play(way))  # type: ignore[misc]
                cpu[way] += used
                seconds[way] += took
        if process.failed:
            raise SystemExit("the warm process failed")
        used, took = spent(stack.close)  # only now is what the warm process and its plays used known
        cpu["warm"] += used
        seconds["warm"] += took
    line = {
        "bench": "plays",
        "plays": PLAYS,
        "plain_cpu_s": round(cpu["plain"], 2),
        "warm_cpu_s": round(cpu["warm"], 2),
        "ratio": round(cpu["plain"] / cpu["warm"], 2),
        "plain_s": round(seconds["plain"], 2),
        "warm_s": round(seconds["warm"], 2),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
