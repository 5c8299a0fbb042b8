"""Questions over HTTP to the engine: is it there, does it complete, how many requests does it still answer?"""

from __future__ import annotations

import http.client
import json
import socket
from typing import Optional, Sequence


class Silent(Exception):
    """No good answer; the message is for the journal."""


def get(address: str, port: int, path: str, body: Optional[bytes] = None, timeout: float = 10.0) -> str:
    """The text of a 200 answer. Raises Silent."""
    link = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        link.request("POST" if body else "GET", path, body, {"Content-Type": "application/json"})
        answer = link.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise Silent(f"{path}: {error}") from error
    finally:
        link.close()
    if answer.status != 200:
        raise Silent(f"{path}: status {answer.status}: {text[:300]}")
    return text


def complete(address: str, port: int, model: str, timeout: float) -> None:
    """One token through the front door: health was seen to say 200 before a first request that kills. Raises Silent."""
    body = json.dumps({"model": model, "prompt": "1", "max_tokens": 1, "temperature": 0}).encode()
    text = get(address, port, "/v1/completions", body, timeout)
    try:
        answer = json.loads(text)
        if answer["choices"] and int(answer["usage"]["completion_tokens"]) > 0:
            return
    except (ValueError, KeyError, TypeError):
        pass
    raise Silent(f"/v1/completions: no token in {text[:300]}")


def busy(metrics: str, names: Sequence[str]) -> int:
    """The sum of these gauges over all their labels. Raises Silent when one of them is not there."""
    totals = {}
    for line in metrics.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in names:
            try:
                totals[name] = totals.get(name, 0.0) + float(line.rpartition(" ")[2])
            except ValueError:
                continue
    if set(totals) != set(names):
        raise Silent("the metrics do not count requests")
    return int(sum(totals.values()))


def refused(address: str, port: int) -> bool:
    """Nobody listens there: a process that is gone, not one that is slow."""
    try:
        socket.create_connection((address, port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
