"""An engine as the router sees one: health, models, completions and streams. Answers nothing clever.

`stub_engine.py ADDRESS PORT NAME` serves until killed; a file NAME.sick beside it makes /health 503.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLICE_S = 0.1


class Engine(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    name = "stub"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Engine

    def do_GET(self) -> None:
        if self.path == "/health":
            sick = Path(self.server.name + ".sick").exists()
            self._json(503 if sick else 200, {"status": "sick" if sick else "ok"})
        elif self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [{"id": "deepseek-tiny"}]})
        else:
            self._json(200, {"leaked": self.path})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body.get("stream"):
            self._stream(int(body.get("max_tokens", 3)))
        else:
            time.sleep(float(body.get("delay", 0)))
            self._json(200, {"engine": self.server.name, "choices": [{"text": "ok"}]})

    def _stream(self, tokens: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        events = [f"data: {self.server.name} {n} {time.time()}\n\n" for n in range(tokens)]
        for event in [*events, "data: [DONE]\n\n"]:
            self.wfile.write(f"{len(event):x}\r\n{event}\r\n".encode())
            time.sleep(SLICE_S)
        self.wfile.write(b"0\r\n\r\n")

    def _json(self, status: int, answer: dict[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: a test reads answers, not logs."""


def main(address: str, port: int, name: str) -> None:
    Engine.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = Engine((address, port), Handler)
    server.name = name
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
