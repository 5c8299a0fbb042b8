"""How many requests the server still works on, and waiting until there are none."""

from __future__ import annotations

import http.client
import time
from typing import Optional

_BUSY = ("llamacpp:requests_processing", "llamacpp:requests_deferred")


def ask(address: str, port: int, path: str, timeout: float, body: Optional[bytes] = None) -> str:
    """The text of a 200 answer. Raises OSError or http.client.HTTPException otherwise."""
    link = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        link.request("POST" if body else "GET", path, body, {"Content-Type": "application/json"})
        answer = link.getresponse()
        text = answer.read().decode("utf-8", "replace")
        if answer.status != 200:
            raise http.client.HTTPException(f"{path}: status {answer.status}: {text[:300]}")
        return text
    finally:
        link.close()


def open_requests(metrics: str) -> int:
    """Requests in a slot or waiting for one, from /metrics. Raises ValueError when it does not say."""
    values = {}
    for line in metrics.splitlines():
        name, _, value = line.partition(" ")
        if name in _BUSY:
            values[name] = int(float(value))
    if len(values) != len(_BUSY):
        raise ValueError("the metrics do not count requests")
    return sum(values.values())


def wait(address: str, port: int, limit: float, pause: float = 0.1) -> int:
    """Poll until two readings in a row are zero, or ``limit`` seconds. Returns the requests left.

    No answer counts as busy (1): every HTTP thread may be taken by a request.
    """
    deadline = time.monotonic() + limit
    idle = 0
    while True:
        try:
            left = open_requests(ask(address, port, "/metrics", timeout=5))
        except (OSError, http.client.HTTPException, ValueError):
            left = 1
        idle = idle + 1 if left == 0 else 0
        if idle == 2:
            return 0
        if time.monotonic() >= deadline:
            return left
        time.sleep(pause)
