"""A web server that serves files properly (Range, ETag, If-Range) until it is told to misbehave.

``server.next[path]`` is a list of faults, one used up by each GET of that path. Requests are kept in ``server.seen``.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

Fault = Callable[["Answer"], None]


class Answer:
    """One response in the making; a fault changes it before it is sent."""

    def __init__(self, data: bytes, asked: str, if_range: str) -> None:
        self.data = data
        self.etag = f'"{hashlib.md5(data).hexdigest()}"'
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        self.start = int(match.group(1)) if match else 0
        self.honours_range = bool(match) and if_range in ("", self.etag)
        self.if_range = if_range
        self.status = 0
        self.headers: dict[str, str] = {}
        self.cut: int | None = None  # send so many bytes of the body only
        self.hang = False  # then keep the connection open and silent
        self.head_hangs = False

    def body(self) -> bytes:
        return self.data[self.start :] if self.honours_range else self.data

    def send(self, handler: BaseHTTPRequestHandler, released: threading.Event) -> None:
        body = self.body()
        if self.honours_range and self.start >= len(self.data) and not self.status:
            self.status, body = 416, b""
        status = self.status or (206 if self.honours_range else 200)
        handler.send_response(status)
        handler.send_header("ETag", self.etag)
        handler.send_header("Content-Length", str(len(body)))
        if status == 206 and "Content-Range" not in self.headers:
            handler.send_header("Content-Range", f"bytes {self.start}-{len(self.data) - 1}/{len(self.data)}")
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body if self.cut is None else body[: self.cut])
        handler.wfile.flush()
        if self.hang:
            released.wait(10)
        handler.close_connection = True


class HostileServer:
    """Serves a dict of files below /w/; ``url`` ends with that. Use as a context manager."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.next: dict[str, list[Fault]] = defaultdict(list)
        self.always: dict[str, Fault] = {}
        self.seen: list[tuple[str, str, str]] = []
        self._released = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/w/"

    def __enter__(self) -> HostileServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._released.set()
        self._http.shutdown()
        self._http.server_close()

    def gets(self, path: str) -> list[str]:
        """The Range headers of all GETs of a path, in order; '' for a plain one."""
        return [asked for method, seen, asked in self.seen if method == "GET" and seen == path]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                path = unquote(self.path.removeprefix("/w/"))
                server.seen.append(("HEAD", path, ""))
                data = server.files.get(path)
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()

            def do_GET(self) -> None:
                path = unquote(self.path.removeprefix("/w/"))
                asked = self.headers.get("Range", "")
                server.seen.append(("GET", path, asked))
                if path not in server.files:
                    self.send_error(404)
                    return
                answer = Answer(server.files[path], asked, self.headers.get("If-Range", ""))
                fault = server.next[path].pop(0) if server.next[path] else server.always.get(path)
                if fault:
                    fault(answer)
                answer.send(self, server._released)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def fine(answer: Answer) -> None:
    """No fault."""


def ignores_range(answer: Answer) -> None:
    answer.honours_range = False


def cuts_after(count: int) -> Fault:
    """Announces the whole body, closes after ``count`` bytes."""

    def fault(answer: Answer) -> None:
        answer.cut = count

    return fault


def stalls_after(count: int) -> Fault:
    def fault(answer: Answer) -> None:
        answer.cut, answer.hang = count, True

    return fault


def status(code: int, **headers: str) -> Fault:
    def fault(answer: Answer) -> None:
        answer.status, answer.honours_range = code, False
        answer.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    return fault


def other_content(data: bytes) -> Fault:
    """Another file of the same name, with its own ETag, Range and If-Range handled as a good server does."""

    def fault(answer: Answer) -> None:
        honest = answer.honours_range or bool(answer.start)
        answer.data = data
        answer.etag = f'"{hashlib.md5(data).hexdigest()}"'
        answer.honours_range = honest and answer.if_range in ("", answer.etag)

    return fault


def other_content_despite_if_range(data: bytes) -> Fault:
    """The same from a server that knows no If-Range: a 206 out of the new file, under the new ETag."""

    def fault(answer: Answer) -> None:
        answer.data = data
        answer.etag = f'"{hashlib.md5(data).hexdigest()}"'
        answer.honours_range = bool(answer.start)

    return fault


def lies_about_range(answer: Answer) -> None:
    """206 from byte 0 though asked for later bytes."""
    if answer.start:
        answer.headers["Content-Range"] = f"bytes 0-{len(answer.data) - 1}/{len(answer.data)}"


def flips_a_byte(answer: Answer) -> None:
    data = bytearray(answer.data)
    data[-1] ^= 1
    answer.data = bytes(data)  # the ETag stays: a bad cache, not a new file


def compresses(answer: Answer) -> None:
    answer.headers["Content-Encoding"] = "gzip"


def error_page(answer: Answer) -> None:
    answer.data = b"<!DOCTYPE html><html><body>Sign in to continue</body></html>" + b" " * 2000
    answer.honours_range = False
