"""The supervisor with a real child, a real socket to the service manager, and a stand-in for the engine."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .examples import FILES, HERE

ENGINE = HERE / "fakes" / "engine.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Place:
    """One release in one colour below a folder, and whoever listens for READY."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.release = folder / "releases" / "v1-1"
        build = self.release / "build"
        (build / "cache").mkdir(parents=True)
        (build / "cache" / "old.so").write_bytes(b"warm")
        entry = {"path": "cache/old.so", "size": 4, "sha256": hashlib.sha256(b"warm").hexdigest()}
        (build / "build.json").write_text(json.dumps({"key": "k1", "files": [entry]}))
        (self.release / "weights").mkdir()
        (folder / "blue").symlink_to(self.release)
        self.programs = folder / "vllm"
        self.programs.mkdir()
        for source in ("supervise", "vllm/server", "llamacpp/server"):  # as the role installs them: flat
            for path in (FILES / source).glob("*.py"):
                if source != "llamacpp/server" or path.stem in ("artefact", "systemd"):
                    shutil.copy(path, self.programs)
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(folder / "notify"))
        self.process: subprocess.Popen[str] | None = None

    def start(self, patience: float = 60.0, mood: str = "ok", **place: Any) -> subprocess.Popen[str]:
        launch = {
            "argv": [
                sys.executable, str(ENGINE), "--host", "@ADDRESS@", "--port", "@PORT@", "--served-model-name", "m",
            ],
            "worker": ["--headless"], "wrap": [], "patience": patience, "notes": ["a note"],
            "environment": {"FAKE_MOOD": mood, "VLLM_CACHE_ROOT": "@CACHE@/vllm"},
        }  # fmt: skip
        settings = {"model": "m", "devices": "all", "launch": launch}
        (self.release / "engine.json").write_text(json.dumps(settings))
        environment = {
            "PATH": os.environ["PATH"], "ADDRESS": "127.0.0.1", "PORT": str(self.port), "DRAIN_S": "30",
            "CACHE_DIRECTORY": str(self.folder / "cache"), "NOTIFY_SOCKET": str(self.folder / "notify"),
            **{name: str(value) for name, value in place.items()},
        }  # fmt: skip
        argv = [sys.executable, "-u", str(self.programs / "serve.py"), str(self.folder / "blue")]
        self.process = subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return self.process

    def ready(self) -> None:
        """Waits for READY; fails when the process ends before."""
        assert self.process
        while self.process.poll() is None:
            if select.select([self.notified], [], [], 0.2)[0] and b"READY=1" in self.notified.recv(4096).split(b"\n"):
                return
        raise AssertionError(self.process.communicate()[0])

    def ended(self) -> tuple[int, str]:
        assert self.process
        said = self.process.communicate(timeout=60)[0]
        return self.process.returncode, said

    def ask(self, seconds: float = 0.0) -> int:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        link.request("POST", "/v1/completions", json.dumps({"model": "m", "seconds": seconds}))
        return link.getresponse().status


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    if made.process and made.process.poll() is None:
        made.process.terminate()
        made.process.communicate(timeout=60)
    made.notified.close()


def test_ready_comes_after_a_completion_and_a_stop_drains(place: Place) -> None:
    process = place.start()
    place.ready()
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(place.ask(seconds=2.0)))
    asking.start()
    while place.ask() == 200 and "running 0.0" in metrics(place):
        pass  # until the slow request is being answered
    process.send_signal(signal.SIGTERM)
    code, said = place.ended()
    asking.join()
    assert (code, answers) == (0, [200]) and "drained in" in said and "a note" in said


def metrics(place: Place) -> str:
    link = http.client.HTTPConnection("127.0.0.1", place.port, timeout=30)
    link.request("GET", "/metrics")
    return link.getresponse().read().decode().replace('{engine="0"}', "")


def test_the_engine_writes_to_a_copy_of_the_build(place: Place) -> None:
    place.start()
    place.ready()
    assert (place.folder / "cache" / "k1" / "old.so").read_bytes() == b"warm"
    assert (place.folder / "cache" / "k1" / "vllm" / "kernel.so").is_file()
    assert [path.name for path in (place.release / "build" / "cache").iterdir()] == ["old.so"]


@pytest.mark.parametrize(
    ("mood", "code", "why"),
    [("flag", 78, "a flag it does not have: vllm: error"), ("memory", 1, "out of GPU memory: torch.OutOfMemoryError")],
)
def test_a_start_that_ends_says_why(place: Place, mood: str, code: int, why: str) -> None:
    place.start(mood=mood)
    found, said = place.ended()
    assert found == code and why in said


def test_a_start_without_progress_is_dead(place: Place) -> None:
    place.start(patience=1.0, mood="hang")
    code, said = place.ended()
    assert code == 1 and "while reading the model" in said and "no progress for" in said


def test_an_altered_build_is_refused(place: Place) -> None:
    (place.release / "build" / "cache" / "old.so").write_bytes(b"evil")
    place.start()
    code, said = place.ended()
    assert code == 78 and "wanted sha256" in said


def test_a_place_without_what_the_launch_needs_is_refused(place: Place) -> None:
    place.start(HEAD="127.0.0.1", RANK="1")
    text = (place.release / "engine.json").read_text().replace("@PORT@", "@INNER_PORT@")
    assert place.process
    place.process.kill()
    place.process.communicate()
    (place.release / "engine.json").write_text(text)
    argv = [sys.executable, str(place.programs / "serve.py"), str(place.folder / "blue")]
    environment = {"PATH": os.environ["PATH"], "ADDRESS": "127.0.0.1", "PORT": str(free_port())}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 78 and "@INNER_PORT@" in done.stdout


def test_a_rank_is_ready_when_its_head_answers_and_starts_anew_when_the_head_is_gone(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Both on one address here, so the head is another process on the port the rank was given."""
    head = subprocess.Popen(
        [sys.executable, str(ENGINE), "--host", "127.0.0.2", "--port", str(place.port), "--served-model-name", "m"],
        stdout=subprocess.DEVNULL,
    )
    try:
        place.start(RANK="1", HEAD="127.0.0.2")
        place.ready()
    finally:
        head.kill()
        head.wait()
    code, said = place.ended()
    assert code == 1 and "the head 127.0.0.2" in said


def test_a_taken_port_is_told(place: Place) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", place.port))
        other.listen()
        place.start()
        code, said = place.ended()
    assert code == 1 and f"cannot listen on 127.0.0.1:{place.port}" in said
