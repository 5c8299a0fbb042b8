"""One request as one JSON line: what the generator writes and the judge reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

READ, COMPLETION, STREAM = "read", "completion", "stream"
IDEMPOTENT = frozenset({READ})


@dataclass(frozen=True)
class Request:
    """Times are seconds since 1970, of a clock that does not jump; None: it never came to that."""

    i: int
    kind: str  # read (GET /v1/models), completion, stream
    due: float  # when the schedule wanted it; latency counts from here
    begun: float  # when the generator got to it: later than due means that the generator itself was starved
    end: float  # the answer's last byte, or when it was given up
    kept: bool  # asked for on a kept-alive connection
    reused: bool = False  # went out on a connection that had carried another before
    opened: float | None = None  # when its connection stood
    sent: float | None = None
    first: float | None = None  # the answer's head
    status: int = 0
    release: str = ""
    engine: str = ""
    error: str = ""  # why it is no good answer; "" = it is one
    truncated: bool = False  # began as a good answer and did not end as one
    retried: int = 0  # times a read was sent again, its kept-alive connection having closed unanswered

    @property
    def ok(self) -> bool:
        return not self.error

    @property
    def latency(self) -> float:
        """Seconds from the due time to the last byte."""
        return self.end - self.due

    @property
    def wait(self) -> float:
        """Seconds from the due time to the answer's head, or to the end if none came."""
        return (self.end if self.first is None else self.first) - self.due

    @property
    def idempotent(self) -> bool:
        return self.kind in IDEMPOTENT


NAMES = frozenset(field.name for field in fields(Request))


def line(request: Request) -> str:
    return json.dumps(asdict(request), separators=(",", ":")) + "\n"


def read(path: Path) -> tuple[Request, ...]:
    """All requests of a history, by due time. Raises ValueError for a line that is none, FileNotFoundError."""
    found = [_request(text, number) for number, text in enumerate(path.read_text().splitlines(), 1)]
    return tuple(sorted(found, key=lambda request: request.due))


def _request(text: str, number: int) -> Request:
    record = json.loads(text)
    if not isinstance(record, dict) or not record.keys() <= NAMES:
        raise ValueError(f"line {number} is no request: {text[:200]}")
    return Request(**record)


def count(path: Path) -> int:
    """How many requests have ended so far; a history is written line by line."""
    with path.open("rb") as file:
        return sum(1 for _ in file)


def missing(requests: Sequence[Request]) -> int:
    """How many numbers of the schedule have no record: 0 unless the generator lost some."""
    return max((request.i for request in requests), default=-1) + 1 - len({request.i for request in requests})
