"""A receiver of webhooks on this computer, and Prometheus of the lab asked over SSH."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote

from .conftest import Lab

POLL_S = 0.5


@dataclass(frozen=True)
class Word:
    """One alert of one message. `at` is this computer's monotonic clock."""

    at: float
    status: str  # firing or resolved
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass
class Receiver:
    """What Alertmanager has sent so far."""

    address: str
    port: int
    words: list[Word] = field(default_factory=list)

    def first(self, status: str, labels: Mapping[str, str], since: float) -> Word | None:
        """The first word of this status since then whose labels have all of these."""
        return next(
            (w for w in self.words if w.at >= since and w.status == status and labels.items() <= w.labels.items()), None
        )

    def until(self, status: str, labels: Mapping[str, str], since: float, deadline: float) -> Word:
        while (word := self.first(status, labels, since)) is None:
            told = sorted({(w.status, w.labels["alertname"], w.labels.get("host", "")) for w in self.words})
            assert monotonic() < deadline, f"not told {status}: {labels}; told so far: {told}"
            sleep(POLL_S)
        return word


@contextmanager
def receiving(address: str) -> Iterator[Receiver]:
    """Listens on this address, at a free port, until the block ends."""
    made = Receiver(address, 0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            now = monotonic()
            made.words.extend(Word(now, one["status"], one["labels"], one["annotations"]) for one in said["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *words: object) -> None:
            """Nothing: the test says what came."""

    with ThreadingHTTPServer((address, 0), Handler) as server:
        made.port = server.server_address[1]
        Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


# runs on the collecting host: paths in, answers out
_ASK = """
import base64, json, sys, urllib.error, urllib.request
secret = open("/etc/dsdeploy/monitor/password").read().strip()
key = base64.b64encode(("dsdeploy:" + secret).encode()).decode()
found = []
for path in json.load(sys.stdin):
    request = urllib.request.Request("http://127.0.0.1:9090" + path, headers={"Authorization": "Basic " + key})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            found.append(json.load(answer))
    except urllib.error.HTTPError as error:
        found.append({"status": "error", "error": error.read().decode()})
print(json.dumps(found))
"""


def question(paths: Sequence[str]) -> str:
    """A shell line for the collecting host, which prints Prometheus' answers to these paths as JSON."""
    return f"printf %s {shlex.quote(json.dumps(list(paths)))} | python3 -c {shlex.quote(_ASK)}"


def asked(lab: Lab, *paths: str) -> list[dict[str, Any]]:
    """Prometheus' answers to these paths, each with its `status`."""
    answers: list[dict[str, Any]] = json.loads(lab.tell("gw1", question(paths)))
    return answers


def instant(lab: Lab, query: str) -> list[dict[str, Any]]:
    """What a query gives now: a sample a series."""
    (answer,) = asked(lab, f"/api/v1/query?query={quote(query)}")
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found
