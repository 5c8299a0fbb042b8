"""The usual API in front of Triton: a stand-in for Triton's HTTP protocol behind it, a tokenizer of three words."""

from __future__ import annotations

import http.client
import json
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from .examples import program

VOCABULARY = 50


class Triton(BaseHTTPRequestHandler):
    """Logits whose best token is one more than the last; FP32 in binary, as the protocol has it."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        told = {
            "/v2/models/m": {"inputs": [{"name": "input_ids", "datatype": "INT64"},
                                        {"name": "attention_mask", "datatype": "INT64"}],
                             "outputs": [{"name": "logits", "datatype": "FP32"}]},
            "/v2/health/ready": {},
        }  # fmt: skip
        if self.path == "/metrics":
            return self.send(200, b"nv_inference_count 3\n")
        return self.send(200 if self.path in told else 404, json.dumps(told.get(self.path, {})).encode())

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(request)
        ids = request["inputs"][0]["data"]
        rows = b"".join(
            struct.pack(f"<{VOCABULARY}f", *(float(n == one + 1) for n in range(VOCABULARY))) for one in ids
        )
        head = json.dumps({"outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, len(ids), VOCABULARY]}]})
        self.send(200, head.encode() + rows, {"Inference-Header-Content-Length": str(len(head))})

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None: ...


TOKENS = SimpleNamespace(
    encode=lambda text: SimpleNamespace(ids=[ord(letter) - 96 for letter in text]),
    decode=lambda ids: "".join(chr(96 + one) for one in ids),
    token_to_id=lambda text: 26 if text == "</s>" else None,
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    module: ModuleType = program("triton", "front")
    inner = ThreadingHTTPServer(("127.0.0.1", 0), Triton)
    front = module.Front(("127.0.0.1", 0), "m", inner.server_port, inner.server_port, TOKENS, 16)
    for server in (inner, front):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(front.server_address[1])
    for server in (front, inner):
        server.shutdown()
        server.server_close()


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    link.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
    answer = link.getresponse()
    text = answer.read().decode("utf-8", "replace")
    link.close()
    return answer.status, json.loads(text) if text.startswith(("{", "[")) else text


def test_a_completion_is_decoded_greedily(port: int) -> None:
    status, told = ask(
        port, "POST", "/v1/completions", {"model": "m", "prompt": "abc", "max_tokens": 4, "temperature": 0}
    )
    assert status == 200 and told["choices"][0]["text"] == "defg"
    assert told["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert Triton.seen[-1]["inputs"][1]["data"] == [1] * 6 and Triton.seen[-1]["inputs"][0]["shape"] == [1, 6]


def test_a_prompt_may_be_token_ids_and_the_end_ends(port: int) -> None:
    status, told = ask(port, "POST", "/v1/completions", {"prompt": [24], "max_tokens": 9})
    assert (status, told["choices"][0]["text"], told["choices"][0]["finish_reason"]) == (200, "yz", "stop")


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"prompt": "a", "stream": True}, "stream"),
        ({"prompt": "a", "temperature": 0.7}, "temperature"),
        ({"prompt": "a", "model": "other"}, "the model here is m"),
        ({"prompt": "a", "max_tokens": 99}, "more than 16"),
        ({"prompt": ["a"]}, "token ids"),
    ],
)
def test_what_is_not_there_is_refused(port: int, request_: dict[str, Any], why: str) -> None:
    status, told = ask(port, "POST", "/v1/completions", request_)
    assert status == 400 and why in told["error"]["message"]


def test_health_models_and_metrics_are_where_they_always_are(port: int) -> None:
    assert ask(port, "GET", "/health")[0] == 200
    assert ask(port, "GET", "/v1/models")[1]["data"][0]["id"] == "m"
    text = ask(port, "GET", "/metrics")[1]
    assert "nv_inference_count 3" in text and "dsdeploy_front_open_requests 0" in text


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/models/../repository", "/v1/chat/completions", "/"])
def test_nothing_else_of_triton_is_reachable(port: int, path: str) -> None:
    assert ask(port, "POST", path, {})[0] == 404


def test_tritons_own_protocol_goes_through(port: int) -> None:
    assert ask(port, "GET", "/v2/models/m")[1]["outputs"][0]["name"] == "logits"


def test_halves_are_decoded_too() -> None:
    decode = program("triton", "decode")
    row = struct.pack("<6e", 0, 1, 2, 5, 3, 4)
    assert decode.best({"outputs": [{"datatype": "FP16", "shape": [1, 2, 3]}]}, row) == 0
    with pytest.raises(decode.Unfit, match="not logits"):
        decode.best({"outputs": [{"datatype": "INT64", "shape": [1, 2]}]}, b"")
    with pytest.raises(decode.Unfit, match="pixel_values"):
        decode.question([1], [("pixel_values", "FP32")], "logits")
