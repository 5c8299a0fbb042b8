"""The load generator against a server that misbehaves on purpose, and the judge against written histories."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .bench.windows import Switch, overstay, switch, windows
from .load import history, judge
from .load.generator import Generator, Load
from .load.history import COMPLETION, READ, STREAM, Request
from .load.judge import Window

ROOT = Path(__file__).resolve().parent.parent
SSE = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
TOKEN = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"

# how the server treats a request: (number of the request on its connection, kind) -> a word of Server.answer
Manner = Callable[[int, str], str]


@dataclass
class Server:
    manner: Manner
    heads: list[str] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            number = 0
            while await self.answer(number, reader, writer):
                number += 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def answer(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers.get("Content-Length", 0)))
        kind = READ if head.startswith("GET") else STREAM if b'"stream": true' in body else COMPLETION
        manner = self.manner(number, kind)
        if manner == "hang":
            await reader.read()
        if manner in ("hang", "drop"):
            return False
        if kind == STREAM:
            writer.write(_head(200, SSE) + b"".join(map(_chunk, _events(manner))))
            writer.write(b"" if manner == "cut" else b"0\r\n\r\n")
            return manner != "cut"
        text = json.dumps({"error": {"code": "engine_failed"}} if manner == "fail" else {"choices": [1]}).encode()
        writer.write(_head(502 if manner == "fail" else 200, {"Content-Length": str(len(text))}))
        writer.write(text[:4] if manner == "cut" else text)
        return manner not in ("cut", "farewell")


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Word", "x-dsdeploy-release: r1", "x-dsdeploy-engine: gpu1-blue"]
    return ("\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())]) + "\r\n\r\n").encode()


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _events(manner: str) -> list[bytes]:
    return {"cut": [TOKEN], "no done": [TOKEN], "no token": [DONE]}.get(manner, [TOKEN, DONE])


def drive(manner: Manner, requests: int = 40, rate: float = 400, timeout: float = 20) -> tuple[Server, list[Request]]:
    """So many requests at a server of this manner; its view and the history, by number."""
    server, out = Server(manner), io.StringIO()

    async def scenario() -> None:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        await Generator(Load("127.0.0.1", port, rate, "m", requests / rate, timeout), out).run()
        listener.close()

    asyncio.run(scenario())
    return server, told(out)


def told(out: io.StringIO) -> list[Request]:
    found = [Request(**json.loads(line)) for line in out.getvalue().splitlines()]
    return sorted(found, key=lambda request: request.i)


def one_by_one(manner: Manner, requests: int = 40) -> list[Request]:
    """Each sent when the one before has ended: which connection a request gets does not depend on the computer."""
    server, out = Server(manner), io.StringIO()

    async def scenario() -> None:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        generator = Generator(Load("127.0.0.1", listener.sockets[0].getsockname()[1], 400, "m"), out)
        for number in range(requests):
            await generator._one(number, generator.now())
        for connection in generator.idle:
            connection.writer.close()
        listener.close()

    asyncio.run(scenario())
    return told(out)


def test_the_mix_is_as_declared() -> None:
    server, requests = drive(lambda number, kind: "good", requests=200)
    assert [request.i for request in requests] == list(range(200))
    assert {request.error for request in requests} == {""}
    assert Counter(request.kind for request in requests) == {READ: 90, COMPLETION: 90, STREAM: 20}
    assert sum(request.kept for request in requests) == 100
    assert Counter(request.kept for request in requests if request.kind == STREAM) == {True: 10, False: 10}
    assert sum("Connection: close" in head for head in server.heads) == 100
    assert server.connections == 200 - sum(request.reused for request in requests)
    assert {request.release for request in requests} == {"r1"} and {request.engine for request in requests} == {
        "gpu1-blue"
    }
    assert len({head.split("Bearer ")[1].split("\r\n")[0] for head in server.heads}) > 8


def test_a_hang_does_not_hold_the_others_back() -> None:
    _, requests = drive(lambda number, kind: "hang" if kind == STREAM else "good", timeout=0.4)
    assert len(requests) == 40
    assert {request.error for request in requests if request.kind == STREAM} == {"no answer in 0.4 s"}
    assert not any(request.truncated for request in requests)
    assert all(request.ok for request in requests if request.kind != STREAM)


def test_what_is_due_while_all_hang_is_sent_all_the_same() -> None:
    server, requests = drive(lambda number, kind: "hang", timeout=0.6)
    assert len(server.heads) == 40 and not any(request.ok for request in requests)


@pytest.mark.parametrize("manner", ["cut", "no done", "no token"])
def test_a_stream_without_its_end_is_truncated(manner: str) -> None:
    _, requests = drive(lambda number, kind: manner if kind == STREAM else "good")
    streams = [request for request in requests if request.kind == STREAM]
    assert len(streams) == 4 and all(request.truncated and request.error for request in streams)
    assert all(request.ok for request in requests if request.kind != STREAM)


def test_a_short_body_is_truncated() -> None:
    _, requests = drive(lambda number, kind: "cut")
    assert all(request.truncated and request.error == "cut off in the answer" for request in requests)


def test_a_refusal_is_failed_by_its_code_and_not_truncated() -> None:
    _, requests = drive(lambda number, kind: "fail" if kind == COMPLETION else "good")
    completions = [request for request in requests if request.kind == COMPLETION]
    assert {request.error for request in completions} == {"status 502 engine_failed"}
    assert not any(request.truncated for request in requests)


def test_a_kept_alive_connection_that_closes_unanswered_is_retried_for_reads_alone() -> None:
    requests = one_by_one(lambda number, kind: "drop" if number > 1 else "good")
    assert {request.retried for request in requests if request.kind == READ} == {0, 1}
    assert all(request.ok for request in requests if request.kind == READ)
    failed = [request for request in requests if not request.ok]
    assert failed and all(request.reused and not request.retried for request in failed)
    assert all(request.error.startswith("closed before the answer") for request in failed)


def test_a_fresh_connection_that_closes_unanswered_is_failed() -> None:
    _, requests = drive(lambda number, kind: "drop")
    assert all(request.error.startswith("closed before the answer") and not request.retried for request in requests)


def test_a_connection_that_closed_after_its_answer_is_not_used_again() -> None:
    server, requests = drive(lambda number, kind: "farewell")
    assert {request.error for request in requests if request.kind != STREAM and not request.reused} == {""}
    assert judge.summary(requests)["failed"] == sum(not request.ok for request in requests)
    assert server.connections >= 36


def test_nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        out = io.StringIO()
        load = Load("127.0.0.1", held.getsockname()[1], 400, "m", 0.05)
        asyncio.run(Generator(load, out).run())
    assert {json.loads(line)["error"] for line in out.getvalue().splitlines()} == {"connect: ECONNREFUSED"}


def test_the_command_ends_on_sigterm_with_all_that_was_open(tmp_path: Path) -> None:
    out = tmp_path / "history.jsonl"

    async def scenario() -> int:
        listener = await asyncio.start_server(Server(lambda number, kind: "good").serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        words = ["--target", f"127.0.0.1:{port}", "--rate", "100", "--model", "m", "--out", str(out)]
        running = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.load", *words, cwd=ROOT)
        while not (out.exists() and history.count(out) > 20):
            await asyncio.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        return await running.wait()

    assert asyncio.run(scenario()) == 0
    found = history.read(out)
    assert history.missing(found) == 0 and all(request.ok for request in found)


def test_the_command_says_what_it_wants() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "tests.load"], cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert shown.returncode == 2 and "--target" in shown.stderr


def test_a_garbled_history_is_refused(tmp_path: Path) -> None:
    (tmp_path / "h").write_text('{"i": 0, "colour": "blue"}\n')
    with pytest.raises(ValueError, match="line 1"):
        history.read(tmp_path / "h")


# -- the judge ----------------------------------------------------------------------------------------------------


def asked(i: int, due: float, took: float = 0.01, **more: object) -> Request:
    base = {"kind": READ, "begun": due, "kept": False, "opened": due, "sent": due, "status": 200, "release": "r1"}
    if "error" not in more:
        base["first"] = due + took
    return Request(i=i, due=due, end=due + took, **(base | more))  # type: ignore[arg-type]


def steady(seconds: float, rate: int = 50, start: float = 100.0) -> list[Request]:
    return [asked(i, start + i / rate) for i in range(int(seconds * rate))]


def test_summary_counts() -> None:
    requests = [
        asked(0, 100.0), asked(1, 100.1, took=0.5), asked(3, 100.2, error="status 502"),
        asked(4, 100.3, kind=STREAM, error="truncated: no [DONE]", truncated=True), asked(5, 100.4, retried=1),
    ]  # fmt: skip
    said = judge.summary(requests)
    assert (said["requests"], said["missing"], said["failed"], said["failed_idempotent"]) == (5, 1, 2, 1)
    assert (said["truncated"], said["retried"], said["p50_ms"], said["max_ms"]) == (1, 1, 10.0, 500.0)
    assert said["errors"] == {"status 502": 1, "truncated: no [DONE]": 1}
    assert judge.summary([])["requests"] == 0


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [judge.percentile(values, percent) for percent in (50, 99, 100)] == [50.0, 99.0, 100.0]
    assert judge.percentile([7.0], 1) == 7.0


def test_silence_is_between_good_answers_and_knows_the_edges() -> None:
    requests = [asked(0, 100.0), asked(1, 100.5, error="x"), asked(2, 101.0), asked(3, 103.0, error="x")]
    assert judge.silence(requests) == pytest.approx(1.99)
    assert judge.silence([]) == 0.0


def test_a_gap_of_a_router_is_what_fails_on_new_connections() -> None:
    requests = [r if not 101.0 <= r.due < 101.3 else asked(r.i, r.due, took=0.0, opened=None, error="connect")
                for r in steady(3)]  # fmt: skip
    requests += [asked(900, 102.5, opened=100.5, reused=True, error="closed before the answer", kind=COMPLETION)]
    found = judge.gap(requests, 101.0, severed=True)
    assert found.dark_ms == pytest.approx(280.0) and found.silence_ms == pytest.approx(320.0, abs=11)
    assert (found.failed, found.old, found.after) == (16, 1, 0)
    excused_no_more = judge.gap(requests, 101.0, severed=False)
    assert (excused_no_more.old, excused_no_more.after) == (0, 1)


def test_a_gap_counts_those_that_waited_and_separates_what_comes_much_later() -> None:
    requests = steady(5)
    requests[60] = asked(60, requests[60].due, took=1.0)  # 101.2: a lost SYN
    requests[200] = asked(200, requests[200].due, error="x")  # 104.0
    found = judge.gap(requests, 101.0, severed=True)
    assert (found.late, found.after, found.lag_ms) == (1, 1, 0.0)
    assert found.dark_ms == pytest.approx(200.0) and found.wait_ms == pytest.approx(1000.0)


def test_an_answer_outside_of_its_window_is_found_by_when_it_was_sent() -> None:
    windows = [Window("r1", 0.0, 100.5), Window("r2", 100.4, 200.0), Window("r1", 150.0, 200.0)]
    requests = [
        asked(0, 100.0), asked(1, 100.45), asked(2, 100.45, release="r2"), asked(3, 100.3, release="r2"),
        asked(4, 120.0), asked(5, 151.0), asked(6, 120.0, release="r9"), asked(7, 120.0, release="", error="x"),
        asked(8, 100.49, took=3.0),
    ]  # fmt: skip
    assert [request.i for request in judge.outside(requests, windows)] == [3, 4, 6]
    assert judge.releases(requests)["r2"] == {"answers": 2, "first": 100.3, "last": 100.45}
    assert judge.unnamed([asked(0, 1.0, release=""), asked(1, 1.0)]) == 1


def test_windows_come_from_the_journals_switch_records() -> None:
    def record(kind: str, step: str, second: int) -> dict[str, str]:
        return {"kind": kind, "step": step, "at": f"2026-11-22T05:00:{second:02}.000000+00:00"}

    records = [
        {"kind": "begin", "at": "2026-11-22T05:00:00.000000+00:00"}, record("intent", "start", 1),
        record("intent", "switch", 10), record("done", "switch", 11), record("intent", "switch", 12),
        record("done", "switch", 13), record("done", "end", 20),
    ]  # fmt: skip
    first = switch("a", "r1", "r2", records)
    assert (first.until - first.since, first.after) == (3.0, "r2")
    back = Switch("b", "r2", "r1", first.until + 100, first.until + 103)
    assert windows([first, back]) == [
        Window("r1", float("-inf"), first.until), Window("r2", first.since, back.until),
        Window("r1", back.since, float("inf")),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no switch"):
        switch("c", "r1", "r2", [record("intent", "switch", 1)])


def test_overstay_is_how_long_the_old_release_still_got_requests() -> None:
    requests = [asked(0, 99.0), asked(1, 100.1), asked(2, 100.2, release="r2"), asked(3, 150.0)]
    assert overstay(requests, "r1", 100.0, 110.0) == pytest.approx(0.1)
    assert overstay(requests, "r2", 101.0, 110.0) == 0.0
