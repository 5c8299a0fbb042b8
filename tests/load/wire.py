"""HTTP/1.1 on a stream, as far as the load needs it: one request out, one answer in, nothing assumed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

LIMIT = 1 << 20  # the longest head or line that is read


class Unanswered(Exception):
    """The connection ended before a byte of the answer came."""


class Cut(Exception):
    """The connection ended inside the answer. `body` is what had come."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("cut off")
        self.answer = answer


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytearray = field(default_factory=bytearray)

    @property
    def keeps(self) -> bool:
        """Whether another request may follow on the connection."""
        return "close" not in self.headers.get("connection", "").lower()


def request(method: str, path: str, host: str, key: str, body: bytes, keep: bool) -> bytes:
    """A whole request. `keep`: false asks the server to close after its answer."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {key}"]
    lines += [] if keep else ["Connection: close"]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def head(reader: asyncio.StreamReader) -> Answer:
    """Status line and headers. Raises Unanswered, or Cut when it ends inside them."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Cut(Answer(0, {})) from error
        raise Unanswered("closed") from error
    except ConnectionError as error:
        raise Unanswered(type(error).__name__) from error
    first, *rest = raw.decode("latin-1").split("\r\n")
    pairs = (text.partition(":") for text in rest if text)
    return Answer(int(first.split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs})


async def body(reader: asyncio.StreamReader, answer: Answer) -> None:
    """Adds the body to the answer. Raises Cut when it ends early."""
    try:
        if "chunked" in answer.headers.get("transfer-encoding", "").lower():
            await _chunks(reader, answer)
        elif length := answer.headers.get("content-length"):
            answer.body += await reader.readexactly(int(length))
        else:  # ends with its connection, so that a cut cannot be told from an end; the content has to tell
            answer.body += await reader.read(-1)
    except asyncio.IncompleteReadError as error:
        answer.body += error.partial
        raise Cut(answer) from error
    except ConnectionError as error:
        raise Cut(answer) from error


async def _chunks(reader: asyncio.StreamReader, answer: Answer) -> None:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        answer.body += (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass


def fault(answer: Answer, stream: bool) -> str:
    """Why a whole answer is not a good one; "" if it is. `truncated…` where the end of it is missing."""
    if answer.status != 200:
        return f"status {answer.status}{_code(answer.body)}"
    if stream:
        return _stream_fault(bytes(answer.body))
    try:
        content = json.loads(answer.body)
    except ValueError:
        return "truncated: no JSON"
    good = isinstance(content, dict) and (content.get("choices") or content.get("data"))
    return "" if good else "an answer without choices or data"


def _code(text: bytearray) -> str:
    """The router's own word for what went wrong, where it gave one."""
    try:
        return f" {json.loads(text)['error']['code']}"
    except (ValueError, KeyError, TypeError):
        return ""


def _stream_fault(text: bytes) -> str:
    events = [event[6:] for event in text.split(b"\n") if event.startswith(b"data: ")]
    events = [event.strip() for event in events]
    if not events or events[-1] != b"[DONE]":
        return "truncated: no [DONE]"
    return "" if any(_token(event) for event in events[:-1]) else "truncated: no token"


def _token(event: bytes) -> bool:
    try:
        choice = json.loads(event)["choices"][0]
        return bool(choice.get("text") or choice.get("delta", {}).get("content"))
    except (ValueError, KeyError, TypeError, IndexError):
        return False
