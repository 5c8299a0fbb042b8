"""The probe against a small engine of its own, with a systemd that says what the test wants."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

UP = {"ActiveState": "active", "SubState": "running", "NRestarts": "0", "Job": "0"}


class Engine(HTTPServer):
    """Answers like llama.cpp: a health status, a model path, completions by prompt."""

    health, path, said = 200, "/srv/dsdeploy/releases/v1-1/build/model.gguf", "42 and more"
    questions: list[dict[str, Any]]


class Answer(BaseHTTPRequestHandler):
    server: Engine

    def reply(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.reply(self.server.health, {"status": "x", "model_path": self.server.path})

    def do_POST(self) -> None:
        self.server.questions.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        count = 1 if self.server.said else 0
        self.reply(200, {"choices": [{"text": self.server.said}], "usage": {"completion_tokens": count}})

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def engine(tmp_path: Path, probe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    server = Engine(("127.0.0.1", 0), Answer)
    server.questions = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    release = tmp_path / "releases" / "v1-1"
    (release / "build").mkdir(parents=True)
    (release / "weights").mkdir()
    (release / "manifest.json").write_text('{"model": "tiny"}')
    (tmp_path / "blue").symlink_to(release)
    (tmp_path / "blue.env").write_text(f"ADDRESS=127.0.0.1\nPORT={server.server_port}\n")
    monkeypatch.setattr(probe, "ROOT", tmp_path)
    monkeypatch.setattr(probe, "PLACES", tmp_path)
    monkeypatch.setattr(probe, "unit_state", lambda unit: UP)
    monkeypatch.setattr(probe, "last_words", lambda invocation: "\n    last words")
    yield server
    server.shutdown()
    server.server_close()


def know(tmp_path: Path, answer: str, where: str = "weights/known_answers.json") -> None:
    known = [{"prompt": "6 x 7", "max_tokens": 3, "answer": answer}]
    content: Any = {"known_answers": known} if where.startswith("build") else known
    (tmp_path / "releases" / "v1-1" / where).write_text(json.dumps(content))


def test_any_completion_will_do_where_no_answer_is_known(engine: Engine, probe: ModuleType) -> None:
    result = probe.wait("blue", 0)
    assert result["ready"] and result["release"] == "v1-1" and result["known_answers"] == 0


@pytest.mark.parametrize("where", ["weights/known_answers.json", "build/build.json"])
def test_the_known_answer_is_asked_for_greedily(engine: Engine, probe: ModuleType, tmp_path: Path, where: str) -> None:
    know(tmp_path, "42", where)
    assert probe.wait("blue", 0)["known_answers"] == 1
    question = engine.questions[0]
    assert (question["prompt"], question["max_tokens"], question["temperature"]) == ("6 x 7", 3, 0)


def test_another_answer_than_the_known_one_is_not_ready(engine: Engine, probe: ModuleType, tmp_path: Path) -> None:
    know(tmp_path, "43")
    result = probe.wait("blue", 60)
    assert not result["ready"] and result["state"] == "wrong"
    assert "wanted '43', got '42 and more'" in result["message"] and "last words" in result["message"]


def test_an_empty_completion_is_not_ready(engine: Engine, probe: ModuleType) -> None:
    engine.said = ""
    assert probe.wait("blue", 60)["state"] == "wrong"


def test_an_engine_that_serves_another_release_is_not_ready(engine: Engine, probe: ModuleType) -> None:
    engine.path = "/srv/dsdeploy/releases/v1-10/build/model.gguf"
    result = probe.wait("blue", 60)
    assert result["state"] == "wrong" and "v1-10" in result["message"]


def test_loading_is_told_from_dead(engine: Engine, probe: ModuleType) -> None:
    engine.health = 503
    result = probe.wait("blue", 0)
    assert result["state"] == "loading" and "not ready after 0 s" in result["message"]


@pytest.mark.parametrize(
    "state",
    [
        {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"},
        {"ActiveState": "inactive", "Job": "0"},
        {"ActiveState": "activating", "SubState": "auto-restart"},
    ],
)
def test_a_dead_engine_is_not_waited_for(
    engine: Engine, probe: ModuleType, monkeypatch: pytest.MonkeyPatch, state: dict[str, str]
) -> None:
    monkeypatch.setattr(probe, "unit_state", lambda unit: state)
    result = probe.wait("blue", 3600)
    assert result["state"] == "dead" and "last words" in result["message"]
    assert engine.questions == []


def test_a_unit_whose_start_is_still_queued_is_not_dead(probe: ModuleType) -> None:
    assert probe.dead({"ActiveState": "inactive", "Job": "812"}, None) == ""


def test_a_restart_while_we_watch_is_a_death(probe: ModuleType) -> None:
    state = {"ActiveState": "activating", "SubState": "start", "NRestarts": "1"}
    assert probe.dead(state, None) == ""
    assert "died" in probe.dead(state, "0")


def test_a_part_of_an_engine_is_asked_through_its_head(engine: Any, probe: ModuleType, tmp_path: Path) -> None:
    place = tmp_path / "blue.env"
    place.write_text(place.read_text().replace("127.0.0.1", "192.0.2.9") + "RANK=1\nHEAD=127.0.0.1\nINNER_PORT=8201\n")
    assert probe.place("blue").startswith("http://127.0.0.1:")
    place.write_text(place.read_text().replace("RANK=1", "RANK=0"))
    assert probe.place("blue").startswith("http://192.0.2.9:")


def test_a_runtime_that_does_not_say_what_it_serves_is_known_by_its_process(
    engine: Any, probe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tmp_path / "releases" / "v1-1" / "manifest.json"
    manifest.write_text('{"model": "tiny", "runtime": "vllm"}')
    monkeypatch.setattr(probe, "started_from", lambda unit: "/srv/dsdeploy/releases/v1-1")
    assert probe.wait("blue", 5)["ready"]
    monkeypatch.setattr(probe, "started_from", lambda unit: "/srv/dsdeploy/releases/v0-9")
    assert probe.wait("blue", 5)["state"] == "wrong"
