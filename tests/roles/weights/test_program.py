"""The program as hosts run it: its words, its exit codes, killed half way, started twice, left working alone."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dsdeploy_weights import job, lock
from dsdeploy_weights.__main__ import main
from dsdeploy_weights.errors import Refused
from dsdeploy_weights.layout import Layout
from hostile_server import HostileServer, flips_a_byte, stalls_after

PROGRAM = Path(__file__).resolve().parents[3] / "roles" / "weights" / "files"
ONE = "model-00001-of-00002.safetensors"
Words = Callable[..., list[str]]


@pytest.fixture
def words(layout: Layout, server: HostileServer, tmp_path: Path) -> Words:
    def make(verb: str, *more: str) -> list[str]:
        argv = [verb, "--json", "--model", layout.model, "--version", layout.version]
        argv += ["--weights", str(layout.weights), "--state", str(layout.state), "--builds-root", str(tmp_path / "b")]
        return [*argv, *(["--source", server.url] if verb == "pull" else []), *more]

    return make


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def start(argv: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-B", "-m", "dsdeploy_weights", *argv]
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(true: Callable[[], bool]) -> None:
    """Wait for something the other process does; give up loudly."""
    for _ in range(2000):
        if true():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not happen within 20 s")


def test_pull_verify_and_damage(words: Words, layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words("pull")) == 0 and answer(capsys)["state"] == "pulled"
    assert main(words("verify", "--deep")) == 0 and answer(capsys)["ok"] is True
    (layout.live / ONE).write_bytes(b"x")
    assert main(words("verify", "--builds")) == 1
    [problem] = answer(capsys)["problems"]
    assert (problem["path"], problem["got"], problem["kind"]) == (ONE, "1 bytes", "size")
    assert main(words("pull")) == 0 and answer(capsys)["fetched"] == [ONE]


def test_an_error_has_all_its_parts(words: Words, server: HostileServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.always[ONE] = flips_a_byte
    assert main(words("pull")) == 1
    document = answer(capsys)
    assert set(document) == {"what", "where", "hint", "problems", "text"}
    assert set(document["problems"][0]) == {"path", "wanted", "got", "kind"}
    assert all(document["problems"][0][key] in document["text"] for key in ("path", "wanted", "got"))


def test_people_get_lines(words: Words, layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    plain = [word for word in words("pull") if word != "--json"]
    assert main(plain) == 0 and "tiny v1: pulled" in capsys.readouterr().out
    (layout.live / ONE).unlink()
    assert main([word for word in words("verify") if word != "--json"]) == 1
    assert f"{ONE}: missing" in capsys.readouterr().out


def test_a_wrong_command_line_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["pull"])
    assert error.value.code == 2


@pytest.fixture
def stalled(words: Words, server: HostileServer, layout: Layout) -> Iterator[subprocess.Popen[str]]:
    """A pull that has 3000 bytes of a shard and gets no more."""
    server.next[ONE] = [stalls_after(3000)]
    process = start(words("pull"))
    part = layout.staging / (ONE + ".part")
    until(lambda: part.exists() and part.stat().st_size == 3000)
    yield process
    process.kill()
    process.communicate()


def test_a_killed_pull_is_continued(
    stalled: subprocess.Popen[str], words: Words, server: HostileServer, layout: Layout, files: dict[str, bytes]
) -> None:
    stalled.send_signal(signal.SIGKILL)
    stalled.wait()
    assert not layout.live.exists()
    second = start(words("pull"))
    output, _ = second.communicate()
    assert json.loads(output)["state"] == "pulled"
    assert server.gets(ONE) == ["", "bytes=3000-"]
    assert (layout.live / ONE).read_bytes() == files[ONE] and not layout.progress.exists()


def test_a_second_pull_waits_for_the_first(
    stalled: subprocess.Popen[str], words: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words("pull", "--wait", "0")) == 1
    document = answer(capsys)
    assert str(stalled.pid) in document["what"] and document["where"].endswith("v1.lock")


def test_the_one_who_waited_is_told(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.make()
    asked = threading.Event()
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: asked.set())
    seen: list[bool] = []

    def second() -> None:
        with lock.held(layout.lock, 30) as waited:
            seen.append(waited)

    thread = threading.Thread(target=second)
    with lock.held(layout.lock, 0) as waited:
        seen.append(waited)
        thread.start()
        assert asked.wait(20)
    thread.join()
    assert seen == [False, True]


def test_progress_is_there_while_working(stalled: subprocess.Popen[str], layout: Layout) -> None:
    document = json.loads(layout.progress.read_text())
    assert set(document) == {"phase", "bytes_done", "bytes_total", "file", "rate", "updated_at"}
    assert document["phase"] == "pull" and 0 < document["bytes_done"] <= document["bytes_total"]


def test_a_job_is_answered_when_done(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def work() -> dict[str, Any]:
        return {"ok": True, "said": gate.read_text()}

    folder = tmp_path / "jobs"
    assert job.answer(folder, "ab" * 8, 0.0, work) == {"running": True}
    assert job.answer(folder, "ab" * 8, 0.0, work) == {"running": True}
    gate.write_text("hello")
    assert job.answer(folder, "ab" * 8, 30.0, work) == {"ok": True, "said": "hello"}
    assert list(folder.iterdir()) == []


def test_a_job_that_dies_is_an_error_not_a_wait(tmp_path: Path) -> None:
    def work() -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(Refused, match="without a result"):
        job.answer(tmp_path / "jobs", "ab" * 8, 30.0, work)


@pytest.mark.parametrize("name", ["", "../../x", "AB" * 8, "zz" * 8, "ab", "a" * 100])
def test_job_ids_are_hex(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="job id"):
        job.answer(tmp_path, name, 0.0, dict)


def test_verify_as_a_job(words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words("pull")) == 0
    capsys.readouterr()
    assert main(words("verify", "--deep", "--builds", "--job", "cd" * 8, "--within", "30")) == 0
    assert answer(capsys)["builds"] == []


@pytest.mark.parametrize("path", sorted(PROGRAM.rglob("*.py")), ids=lambda path: str(path.name))
def test_it_is_written_for_the_oldest_python_of_a_host(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert imported <= set(sys.stdlib_module_names)
