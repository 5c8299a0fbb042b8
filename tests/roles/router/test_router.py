"""A real HAProxy with the role's configuration, asked as callers ask it and moved as an upgrade moves it."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from typing import Any

import pytest

COMPLETION = {"model": "deepseek-tiny", "prompt": "x"}
Answer = tuple[int, Any, http.client.HTTPMessage]


def ask(router: Any, method: str, path: str, body: Any = None, key: str = "", **headers: str) -> Answer:
    """Status, JSON body and headers. `body` is sent as JSON unless it is bytes."""
    link = http.client.HTTPConnection("127.0.0.1", router.port, timeout=60)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        link.request(method, path, data, {"authorization": f"Bearer {key or path}", **headers})
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused while it was still being sent; the answer is there to be read
    answer = link.getresponse()
    text = answer.read()
    link.close()
    return answer.status, json.loads(text) if text else None, answer.headers


def do(router: Any, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and answer of the on-host program."""
    code = router.program.cli.main(list(words), router.paths)
    return code, json.loads(capsys.readouterr().out)


def test_a_completion_names_the_release_that_answered(router: Any) -> None:
    status, body, headers = ask(router, "POST", "/v1/completions", COMPLETION)
    assert status == 200 and headers["x-dsdeploy-release"] == "r-blue"
    assert headers["x-dsdeploy-engine"] == body["engine"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/slots", None, 404, "not_found"),
        ("GET", "/metrics", None, 404, "not_found"),
        ("POST", "/v1/pause", COMPLETION, 404, "not_found"),
        ("GET", "/v1/models/", None, 404, "not_found"),
        ("GET", "/v1/../slots", None, 404, "not_found"),
        ("GET", "/v1/%6dodels", None, 404, "not_found"),
        ("GET", "/v1/completions", None, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", None, 405, "method_not_allowed"),
        ("POST", "/v1/completions", {"model": "gpt-4"}, 404, "model_not_found"),
        ("POST", "/v1/embeddings", {"model": "deepseek-tin"}, 404, "model_not_found"),
        ("POST", "/v1/chat/completions", {"model": 7}, 404, "model_not_found"),
        ("POST", "/v1/chat/completions", {"prompt": "x"}, 400, "bad_request"),
        ("POST", "/v1/chat/completions", b"nonsense", 400, "bad_request"),
        ("POST", "/v1/chat/completions", b"", 400, "bad_request"),
        ("POST", "/v1/completions", {**COMPLETION, "prompt": "x" * 65536}, 413, "body_too_large"),
    ],
)
def test_what_is_not_allowed_never_reaches_an_engine(
    router: Any, method: str, path: str, body: Any, status: int, code: str
) -> None:
    seen, answer, headers = ask(router, method, path, body, key=f"{method}{path}{status}")
    assert (seen, answer["error"]["code"]) == (status, code)
    assert "x-dsdeploy-release" not in headers


def test_a_chunked_body_is_asked_for_its_length(router: Any) -> None:
    status, body, _ = ask(router, "POST", "/v1/completions", None, **{"transfer-encoding": "chunked"})
    assert (status, body["error"]["code"]) == (411, "length_required")


def test_the_largest_body_passes(router: Any) -> None:
    room = 65536 - len(json.dumps({**COMPLETION, "prompt": ""}))
    assert ask(router, "POST", "/v1/completions", {**COMPLETION, "prompt": "x" * room})[0] == 200


def test_models_and_health_are_read(router: Any) -> None:
    assert ask(router, "GET", "/v1/models")[1]["data"] == [{"id": "deepseek-tiny"}]
    assert ask(router, "GET", "/health")[:2] == (200, {"status": "ok"})


def test_a_key_beyond_its_burst_waits_and_others_do_not(router: Any) -> None:
    answers = [ask(router, "GET", "/v1/models", key="greedy") for _ in range(22)]
    assert [status for status, _, _ in answers] == [200] * 20 + [429] * 2
    assert answers[-1][1]["error"]["code"] == "rate_limit_exceeded" and answers[-1][2]["retry-after"] == "1"
    assert ask(router, "GET", "/v1/models", key="modest")[0] == 200


def test_a_stream_goes_on_through_a_switch_and_new_requests_do_not_follow_it(
    router: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    link = http.client.HTTPConnection("127.0.0.1", router.port, timeout=60)
    link.request("POST", "/v1/completions", json.dumps({**COMPLETION, "stream": True, "max_tokens": 30}))
    stream = link.getresponse()
    first = stream.readline()
    code, did = do(router, capsys, "switch", "--set", "gpu1=green", "--set", "gpu2=green", "--wait", "60")
    assert (code, did["changed"]) == (0, True)
    answers = [ask(router, "POST", "/v1/completions", COMPLETION, key="after")[2] for _ in range(6)]
    assert {headers["x-dsdeploy-release"] for headers in answers} == {"r-green"}
    busy = do(router, capsys, "show")[1]
    assert sum(one["open"] for one in busy["servers"] if one["state"] == "drain") == 1
    rest = stream.read()
    assert b"blue" in first and rest.count(b"data: ") == 30 and rest.endswith(b"data: [DONE]\n\n")
    assert do(router, capsys, "switch", "--set", "gpu1=green")[1]["changed"] is False
    assert router.program.config.load(router.paths.config).active == {"gpu1-green", "gpu2-green"}
    assert do(router, capsys, "switch", "--set", "gpu1=blue", "--set", "gpu2=blue", "--wait", "60")[0] == 0


def test_a_colour_that_is_not_healthy_gets_nothing(router: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (router.folder / "gpu1-green.sick").touch()
    do(router, capsys, "park", "gpu1-green")
    before = router.paths.config.read_text()
    code, answer = do(router, capsys, "switch", "--set", "gpu1=green", "--release", "gpu1-green=r3", "--wait", "0.5")
    (router.folder / "gpu1-green.sick").unlink()
    assert code == 5 and "gpu1-green" in answer["failed"]
    shown = do(router, capsys, "show")[1]
    assert shown["active"] == {"gpu1": "blue", "gpu2": "blue"} and shown["persisted"] and shown["config_runs"]
    assert router.paths.config.read_text() == before
    assert [one.name for one in router.folder.iterdir() if one.name.startswith(".")] == []


def test_the_last_engine_stays(router: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = do(router, capsys, "switch", "--set", "gpu1=none", "--set", "gpu2=none")
    assert code == 1 and "no engine in rotation" in answer["failed"]
    assert do(router, capsys, "park", "gpu1-blue")[0] == 1


def test_cutting_is_counted(router: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ended: list[str] = []

    def wait_for_it() -> None:
        try:
            ask(router, "POST", "/v1/completions", {**COMPLETION, "delay": 60}, key="slow")
        except (http.client.HTTPException, OSError) as error:
            ended.append(type(error).__name__)

    do(router, capsys, "switch", "--set", "gpu2=none")
    caller = threading.Thread(target=wait_for_it)
    caller.start()
    router.wait(lambda: router.program.runtime.servers(router.paths.socket)["gpu1-blue"].open == 1)
    assert do(router, capsys, "switch", "--set", "gpu1=none", "--set", "gpu2=blue", "--wait", "60")[0] == 0
    code, answer = do(router, capsys, "park", "gpu1-blue")
    assert code == 1 and "still answers 1" in answer["failed"]
    code, answer = do(router, capsys, "park", "gpu1-blue", "--cut")
    caller.join()
    assert code == 0 and answer["cut"] == 1
    assert do(router, capsys, "switch", "--set", "gpu1=blue", "--wait", "60")[0] == 0


def test_the_kept_state_names_engines_in_rotation_only(router: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert do(router, capsys, "save")[0] == 0
    (state,) = router.paths.state.glob("state.*")
    assert state.name == f"state.{router.program.config.load(router.paths.config).structure[:12]}"
    fields = [line.split() for line in state.read_text().splitlines()[2:]]
    assert {(field[3], field[6]) for field in fields} == {("gpu1-blue", "0"), ("gpu2-blue", "0")}


def test_converge_moves_colours_without_a_reload(router: Any, capsys: pytest.CaptureFixture[str]) -> None:
    config, before = router.program.config, do(router, capsys, "show")[1]
    wanted = config.with_active(config.load(router.paths.config), frozenset({"gpu1-green", "gpu2-blue"}))
    config.write(router.paths.config, wanted.text)
    config.write(router.paths.releases, router.paths.releases.read_text().replace("r-green", "r-new"))
    assert do(router, capsys, "show")[1]["persisted"] is False
    assert do(router, capsys, "converge", "--wait", "60")[1]["changed"] is True
    after = do(router, capsys, "show")[1]
    assert after["active"] == {"gpu1": "green", "gpu2": "blue"} and after["persisted"]
    assert (after["pid"], after["old_workers"]) == (before["pid"], [])
    assert {one["release"] for one in after["servers"] if one["colour"] == "green"} == {"r-new"}
    assert do(router, capsys, "converge")[1] == {"changed": False, "did": []}


def test_converge_puts_back_files_that_would_leave_no_engine(router: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert do(router, capsys, "save")[0] == 0
    good = router.paths.config.read_text()
    lines = good.splitlines(keepends=True)
    off = [line.replace("\n", " disabled\n") if line.startswith("    server gpu") else line for line in lines]
    router.paths.config.write_text("".join(off).replace(" disabled disabled", " disabled"))
    code, answer = do(router, capsys, "converge")
    assert code == 1 and "put back on disk" in answer["failed"]
    assert router.paths.config.read_text() == good


def test_requests_in_a_process_of_before_a_reload_are_counted(router: Any, capsys: pytest.CaptureFixture[str]) -> None:
    link = http.client.HTTPConnection("127.0.0.1", router.port, timeout=60)
    link.request("POST", "/v1/completions", json.dumps({**COMPLETION, "stream": True, "max_tokens": 1000}))
    stream = link.getresponse()
    before = do(router, capsys, "show")[1]
    router.processes[-1].send_signal(signal.SIGUSR2)
    router.wait(lambda: do(router, capsys, "show")[1].get("old_workers"))
    shown = do(router, capsys, "show")[1]
    assert shown["old_workers"] == [before["pid"]] and sum(one["open"] for one in shown["servers"]) == 1
    (old,) = [one["name"] for one in shown["servers"] if one["open"]]
    host = old.rpartition("-")[0]
    assert do(router, capsys, "switch", "--set", f"{host}=none")[0] == 0
    assert do(router, capsys, "park", old)[0] == 1
    assert do(router, capsys, "park", old, "--cut")[1]["cut"] == 1
    with pytest.raises(http.client.IncompleteRead):
        stream.read()
    assert do(router, capsys, "switch", "--set", f"{host}=blue", "--wait", "60")[0] == 0
