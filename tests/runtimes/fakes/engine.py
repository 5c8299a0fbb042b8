"""A stand-in for `vllm serve`: the outermost edge of these tests. It takes flags, answers and says lines alike."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--host")
parser.add_argument("--port", type=int)
parser.add_argument("--served-model-name")
parser.add_argument("--headless", action="store_true")
given = parser.parse_args()
mood = os.environ.get("FAKE_MOOD", "ok")
running, lock = 0, threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = {"/health": "", "/metrics": f'vllm:num_requests_running{{engine="0"}} {float(running)}\n'
                 'vllm:num_requests_waiting{engine="0"} 0.0\n'}  # fmt: skip
        self.answer(200 if self.path in known else 404, known.get(self.path, ""))

    def do_POST(self) -> None:
        global running
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            running += 1
        time.sleep(float(body.get("seconds", 0)))
        with lock:
            running -= 1
        good = body["model"] == given.served_model_name
        answer = {"choices": [{"text": "x"}], "usage": {"completion_tokens": 1}}
        self.answer(200 if good else 404, json.dumps(answer))

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None: ...


print("INFO Initializing a V1 LLM engine (v0) with config", flush=True)
if mood == "flag":
    sys.exit("vllm: error: unrecognized arguments: --nonsense")
if mood == "memory":
    sys.exit("torch.OutOfMemoryError: CUDA out of memory")
if cache := os.environ.get("VLLM_CACHE_ROOT"):
    Path(cache).mkdir(parents=True, exist_ok=True)
    (Path(cache) / "kernel.so").write_bytes(b"compiled")
if mood == "hang" or given.headless:
    threading.Event().wait()
print("Loading safetensors checkpoint shards: 100% Completed | 1/1", flush=True)
ThreadingHTTPServer((given.host, given.port), Handler).serve_forever()
