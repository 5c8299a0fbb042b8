"""The API every engine here has, in front of Triton: completions by greedy decoding over the model's logits.

/health, /v1/models, /v1/completions (a prompt of text, or of token ids), /metrics (Triton's, and the open requests),
and /v2/… as Triton itself answers it. A prompt is computed anew for each token: an ONNX model of this kind has no
cache. What is not there is refused: streams, chat, sampling.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import decode

_LONGEST = 1 << 20  # bytes of a request
_OPEN = "dsdeploy_front_open_requests"


class Refused(Exception):
    """A request that cannot be answered: the sentence for the client."""


class Front(ThreadingHTTPServer):
    """`inner` and `metrics` are Triton's own ports on the loopback."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, address: Tuple[str, int], model: str, inner: int, metrics: int, tokens: Any, context: int
    ) -> None:
        if ":" in address[0]:
            import socket

            self.address_family = socket.AF_INET6
        self.model, self.inner, self.metrics, self.tokens, self.context = model, inner, metrics, tokens, context
        self.open, self.lock = 0, threading.Lock()
        super().__init__(address, Handler)

    def count(self, step: int) -> None:
        with self.lock:
            self.open += step

    def triton(self, method: str, path: str, body: Optional[bytes], headers: Mapping[str, str], port: int = 0) -> Any:
        """Status, headers and bytes of Triton's answer. Raises OSError or http.client.HTTPException."""
        link = http.client.HTTPConnection("127.0.0.1", port or self.inner, timeout=600)
        try:
            link.request(method, path, body, dict(headers))
            answer = link.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            link.close()

    def complete(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        """An OpenAI completion. Raises Refused."""
        for name, allowed in (("stream", (None, False)), ("n", (None, 1)), ("temperature", (None, 0))):
            if request.get(name) not in allowed:
                raise Refused(f"{name} {request[name]!r} is not available: this engine decodes greedily, in one piece")
        if request.get("model") not in (None, self.model):
            raise Refused(f"the model here is {self.model}")
        prompt = request.get("prompt", "")
        ids = prompt if isinstance(prompt, list) else self.tokens.encode(str(prompt)).ids
        if not ids or not all(isinstance(one, int) for one in ids):
            raise Refused("prompt is a text or a list of token ids")
        wanted = int(request.get("max_tokens") or 16)
        if len(ids) + wanted > self.context:
            raise Refused(f"{len(ids)} + {wanted} tokens are more than {self.context}")
        ask: Callable[[List[int]], int] = lambda row: decode.next_token(self, row)  # noqa: E731
        made = decode.greedy(ask, list(ids), wanted, decode.ends(self.tokens))
        reason = "length" if len(made) == wanted else "stop"
        return {
            "id": f"cmpl-{time.time_ns():x}", "object": "text_completion", "created": int(time.time()),
            "model": self.model,
            "choices": [{"index": 0, "text": self.tokens.decode(made), "finish_reason": reason, "logprobs": None}],
            "usage": {"prompt_tokens": len(ids), "completion_tokens": len(made), "total_tokens": len(ids) + len(made)},
        }  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def do_GET(self) -> None:
        if self.path == "/metrics":
            return self._metrics()
        if self.path == "/v1/models":
            listed = {"object": "list", "data": [{"id": self.server.model, "object": "model", "owned_by": "dsdeploy"}]}
            return self._json(200, listed)
        return self._forward("/v2/health/ready" if self.path == "/health" else self.path)

    def do_POST(self) -> None:
        self.server.count(1)
        try:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= _LONGEST:
                self.close_connection = True  # its body is not read
                return self._json(
                    413, {"error": {"message": "the request is too large", "type": "invalid_request_error"}}
                )
            body = self.rfile.read(length)
            if self.path != "/v1/completions":
                return self._forward(self.path, body)
            try:
                return self._json(200, self.server.complete(json.loads(body)))
            except (Refused, decode.Unfit, ValueError, TypeError) as error:
                return self._json(400, {"error": {"message": str(error), "type": "invalid_request_error"}})
            except (OSError, http.client.HTTPException) as error:
                return self._json(503, {"error": {"message": str(error), "type": "server_error"}})
        finally:
            self.server.count(-1)

    def _metrics(self) -> None:
        try:
            _, _, text = self.server.triton("GET", "/metrics", None, {}, self.server.metrics)
        except (OSError, http.client.HTTPException):
            text = b""
        own = f"# TYPE {_OPEN} gauge\n{_OPEN} {self.server.open}\n".encode()
        self._send(200, "text/plain; version=0.0.4", text + own)

    def _forward(self, path: str, body: Optional[bytes] = None) -> None:
        """Triton's own protocol; only below /v2, and never its repository or settings."""
        words = path.split("?")[0].split("/")
        if words[1:2] != ["v2"] or words[2:3] not in (["health"], ["models"], []) or "trace" in words or ".." in words:
            return self._json(404, {"error": {"message": f"nothing at {path}", "type": "not_found_error"}})
        kept = {
            name: value for name, value in self.headers.items() if name.lower().startswith(("content-type", "infer"))
        }
        try:
            status, headers, answer = self.server.triton(self.command, path, body, kept)
        except (OSError, http.client.HTTPException) as error:
            return self._json(503, {"error": {"message": str(error), "type": "server_error"}})
        return self._send(status, headers.get("Content-Type", "application/json"), answer)

    def _json(self, status: int, content: Mapping[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """A line per request would flood the journal."""


def start(settings: Mapping[str, Any], known: Mapping[str, str]) -> Front:
    """Listening, in threads of its own, when this returns."""
    from tokenizers import Tokenizer  # type: ignore[import-not-found]

    tokens = Tokenizer.from_file(str(Path(known["WEIGHTS"]) / "tokenizer.json"))
    place = (known["ADDRESS"], int(known["PORT"]))
    context = int(settings["context_tokens"])
    front = Front(place, settings["model"], int(known["INNER_PORT"]), int(known["METRICS_PORT"]), tokens, context)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    return front
