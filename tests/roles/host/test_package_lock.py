"""Finding a lock's holder with a real lock, and waiting with a clock of our own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

SOURCE = Path(__file__).resolve().parents[3] / "roles" / "host" / "module_utils" / "dsdeploy_package_lock.py"
HOLD = "import fcntl,sys;f=open(sys.argv[1],'w');fcntl.lockf(f,fcntl.LOCK_EX);print('held',flush=True);sys.stdin.read()"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dsdeploy_package_lock", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


lock = load()


def test_the_holder_is_named_and_its_lock_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "lock-frontend"
    path.touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        found = lock.holder([str(tmp_path / "absent"), str(path)])
        assert (found.path, found.pid) == (str(path), process.pid)
        assert found.name == Path(f"/proc/{process.pid}/comm").read_text().strip()
        process.communicate("")
    assert lock.holder([str(path)]) is None


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def rest(self, seconds: float) -> None:
        self.now += seconds


def test_waiting_ends_when_the_lock_is_free() -> None:
    clock = Clock()
    held = lock.Holder("/var/lib/dpkg/lock", 7, "apt-get")
    answers = iter([held, held, None])
    assert lock.wait(60, lambda: next(answers), clock, clock.rest) is None
    assert clock.now == 2.0


def test_waiting_is_bounded_and_the_holder_is_named() -> None:
    clock = Clock()
    held = lock.Holder("/var/lib/dpkg/lock", 7, "apt-get")
    found = lock.wait(60, lambda: held, clock, clock.rest)
    assert clock.now == 60.0
    text = lock.complaint(found, 60)
    assert "held by apt-get (pid 7)" in text
    assert "try: ps -fp 7" in text
