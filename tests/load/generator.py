"""Open-loop load: request i is due at start + i / rate, whatever became of those before it.

A closed loop waits for answers and so asks less while something hangs; here a hang is seen by every request
that was due in it. Latency counts from the due time for the same reason.
"""

from __future__ import annotations

import asyncio
import errno
import json
import time
from dataclasses import dataclass, field, replace
from typing import TextIO

from . import history, wire
from .history import COMPLETION, READ, STREAM, Request

KEYS = 16  # callers, round robin: the router's limit is one caller's
IDLE = 32  # connections kept at most
END_S = 30.0  # what is open when the load ends may take so long

# Twenty requests: two streams, nine reads, nine completions; half of each asks for a kept-alive connection.
SLOTS = tuple(STREAM if slot in (4, 15) else READ if slot % 4 < 2 else COMPLETION for slot in range(20))


@dataclass(frozen=True)
class Load:
    """What is asked of whom. `timeout`: seconds from the due time until a request is given up."""

    host: str
    port: int
    rate: float
    model: str
    seconds: float | None = None
    timeout: float = 15.0


@dataclass(eq=False)
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    opened: float
    used: bool = False

    @property
    def alive(self) -> bool:
        return not self.reader.at_eof() and self.reader.exception() is None and not self.writer.is_closing()


@dataclass
class Generator:
    load: Load
    out: TextIO
    idle: list[Connection] = field(default_factory=list)
    open: set[asyncio.Task[None]] = field(default_factory=set)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.epoch = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since 1970; a step of the system's clock does not show in it."""
        return self.epoch + time.monotonic()

    async def run(self) -> None:
        """Until `seconds` are over or `stopping` is set, and what is open then has ended."""
        start, i = self.now(), 0
        while self.load.seconds is None or i / self.load.rate < self.load.seconds:
            due = start + i / self.load.rate
            if await self._stopped(due - self.now()):
                break
            task = asyncio.create_task(self._one(i, due))
            self.open.add(task)
            task.add_done_callback(self.open.discard)
            i += 1
        if self.open:
            _, late = await asyncio.wait(self.open, timeout=END_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for connection in self.idle:
            connection.writer.close()

    async def _stopped(self, seconds: float) -> bool:
        if seconds > 0:
            try:
                await asyncio.wait_for(self.stopping.wait(), seconds)
            except asyncio.TimeoutError:
                return False
        return self.stopping.is_set()

    async def _one(self, i: int, due: float) -> None:
        begun = self.now()
        state = _Progress(Request(i, SLOTS[i % len(SLOTS)], due, begun, begun, kept=i % 2 == 0))
        try:
            await asyncio.wait_for(self._ask(state), due + self.load.timeout - begun)
        except asyncio.TimeoutError:
            state.failed(f"no answer in {self.load.timeout:g} s")
        except asyncio.CancelledError:
            state.failed("not answered when the load ended")
        finally:
            self.out.write(history.line(replace(state.request, end=self.now())))

    async def _ask(self, state: _Progress) -> None:
        """One request to its end; a read whose kept-alive connection closes unanswered is sent once more."""
        while True:
            try:
                connection = await self._connection(state)
            except OSError as error:
                return state.failed(f"connect: {errno.errorcode.get(error.errno or 0, type(error).__name__)}")
            try:
                again = await self._exchange(connection, state)
            finally:
                if connection not in self.idle:
                    connection.writer.close()
            if not again:
                return None
            state.set(retried=state.request.retried + 1, error="")

    async def _connection(self, state: _Progress) -> Connection:
        while self.idle and state.request.kept and not state.request.retried:
            connection = self.idle.pop()
            if connection.alive:
                state.set(opened=connection.opened, reused=connection.used)
                return connection
            connection.writer.close()
        reader, writer = await asyncio.open_connection(self.load.host, self.load.port, limit=wire.LIMIT)
        connection = Connection(reader, writer, self.now())
        state.set(opened=connection.opened, reused=False)
        return connection

    async def _exchange(self, connection: Connection, state: _Progress) -> bool:
        """Sends and reads. True: to be sent again on another connection."""
        asked = state.request
        connection.writer.write(self._bytes(asked))
        state.set(sent=self.now())
        try:
            answer = await wire.head(connection.reader)
            state.set(
                first=self.now(),
                status=answer.status,
                release=answer.headers.get("x-dsdeploy-release", ""),
                engine=answer.headers.get("x-dsdeploy-engine", ""),
            )
            await wire.body(connection.reader, answer)
        except wire.Unanswered as error:
            state.failed(f"closed before the answer ({error})")
            return asked.idempotent and asked.reused
        except wire.Cut:
            state.failed("cut off in the answer")
            return False
        except (ValueError, IndexError, asyncio.LimitOverrunError) as error:
            state.failed(f"no HTTP: {error}")
            return False
        why = wire.fault(answer, asked.kind == STREAM)
        state.failed(why, cut=why.startswith("truncated"))
        connection.used = True
        if asked.kept and answer.keeps and len(self.idle) < IDLE:
            self.idle.append(connection)
        return False

    def _bytes(self, asked: Request) -> bytes:
        load, key = self.load, f"load-{asked.i % KEYS}"
        host = f"{load.host}:{load.port}"
        if asked.kind == READ:
            return wire.request("GET", "/v1/models", host, key, b"", asked.kept)
        tokens, chat = (12, asked.i % 40 < 20) if asked.kind == STREAM else (2 + asked.i % 3, asked.i % 8 < 4)
        body: dict[str, object] = {"model": load.model, "max_tokens": tokens, "temperature": 0}
        body |= {"messages": [{"role": "user", "content": "Count."}]} if chat else {"prompt": "Count."}
        body |= {"stream": True} if asked.kind == STREAM else {}
        path = "/v1/chat/completions" if chat else "/v1/completions"
        return wire.request("POST", path, host, key, json.dumps(body).encode(), asked.kept)


@dataclass
class _Progress:
    """A request on its way: what is known of it so far, also when it is cancelled."""

    request: Request

    def set(self, **known: object) -> None:
        self.request = replace(self.request, **known)  # type: ignore[arg-type]

    def failed(self, why: str, cut: bool = True) -> None:
        """`why` may be "". `cut`: an answer that had begun as a good one ended early."""
        begun = self.request.first is not None and self.request.status == 200
        self.set(error=why, truncated=bool(why) and cut and begun)
