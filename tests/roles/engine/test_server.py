"""The server's own parts: what it reads, what it refuses, what it waits for."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import artefact
import drain
import fit
import gguf_header
import pytest
import systemd

MLA = {
    "general.architecture": "deepseek2", "deepseek2.block_count": 3, "deepseek2.embedding_length": 128,
    "deepseek2.context_length": 2048, "deepseek2.vocab_size": 512, "deepseek2.attention.head_count": 2,
    "deepseek2.attention.head_count_kv": 1, "deepseek2.attention.key_length": 576,
    "deepseek2.attention.value_length": 512, "deepseek2.attention.key_length_mla": 192,
}  # fmt: skip
SETTINGS = {"context_tokens": 4096, "batching": {"max_batch_size": 64}}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def test_scalars_strings_and_short_lists_are_read_and_vocabularies_skipped(gguf: Callable[..., Path]) -> None:
    words = b"".join(text(f"token{i}") for i in range(9))
    path = gguf(
        text("a.count") + struct.pack("<II", 4, 7),
        text("tokens") + struct.pack("<IIQ", 9, 8, 9) + words,
        text("scores") + struct.pack("<IIQ", 9, 6, 5000) + bytes(20000),
        text("heads") + struct.pack("<IIQ3I", 9, 4, 3, 1, 2, 3),
        text("name") + struct.pack("<I", 8) + text("tiny"),
    )
    assert gguf_header.read(path) == {"a.count": 7, "heads": (1, 2, 3), "name": "tiny"}


@pytest.mark.parametrize("keep", [0, 3, 20, 30, 40])
def test_a_file_that_ends_in_its_header_is_refused(gguf: Callable[..., Path], keep: int) -> None:
    path = gguf(text("name") + struct.pack("<I", 8) + text("a longer value"))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(gguf_header.BadHeader):
        gguf_header.read(path)


def test_a_string_of_impossible_length_is_refused(gguf: Callable[..., Path]) -> None:
    with pytest.raises(gguf_header.BadHeader):
        gguf_header.read(gguf(text("name") + struct.pack("<IQ", 8, 2**60)))


def test_mla_keeps_the_compressed_key_alone() -> None:
    assert fit.cache_per_token(MLA) == 3 * 576 * 2


def test_plain_attention_keeps_keys_and_values_of_every_layer() -> None:
    meta = {
        "general.architecture": "llama", "llama.block_count": 4, "llama.embedding_length": 256,
        "llama.attention.head_count": 8, "llama.attention.head_count_kv": (2, 2, 4, 4),
    }  # fmt: skip
    assert fit.cache_per_token(meta) == 12 * (32 + 32) * 2


def test_a_slot_never_has_more_context_than_the_model_was_trained_for() -> None:
    need = fit.need(SETTINGS, MLA, 2_000_000)
    assert (need.slots, need.context, need.cache) == (64, 2048, 64 * 2048 * 3456)
    assert need.micro_batch >= need.slots and need.batch >= need.micro_batch


def test_what_does_not_fit_is_refused_with_the_sum_and_what_would() -> None:
    need = fit.need(SETTINGS, MLA, 2 << 20)
    with pytest.raises(fit.DoesNotFit) as raised:
        fit.check(need, 200 << 20, 0.5, "available memory")
    said = str(raised.value)
    assert "64 slots x 2048 tokens x 3456 B = 432.0 MiB" in said
    assert "0.5 x available memory 200.0 MiB = 100.0 MiB" in said
    fitting = int(said.rpartition("max_batch_size ")[2].split()[0])
    assert 0 < fitting < 64
    smaller = fit.need({**SETTINGS, "batching": {"max_batch_size": fitting}}, MLA, 2 << 20)
    fit.check(smaller, 200 << 20, 0.5, "available memory")


def test_more_slots_than_llama_cpp_has_are_refused() -> None:
    with pytest.raises(fit.DoesNotFit, match="257"):
        fit.need({**SETTINGS, "batching": {"max_batch_size": 257}}, MLA, 0)


@pytest.fixture
def build(tmp_path: Path) -> Path:
    (tmp_path / "model.gguf").write_bytes(b"weights")
    entry = {"path": "model.gguf", "size": 7, "sha256": hashlib.sha256(b"weights").hexdigest()}
    (tmp_path / "build.json").write_text(json.dumps({"key": "k", "files": [entry]}))
    return tmp_path


def restamp(build: Path, **changes: Any) -> None:
    record = json.loads((build / "build.json").read_text())
    stat = (build / "model.gguf").stat()
    stamp = {
        "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns, "inode": stat.st_ino, "device": stat.st_dev,
    }  # fmt: skip
    record["files"][0].update({**stamp, **changes})
    (build / "build.json").write_text(json.dumps(record))


def test_an_intact_build_is_accepted(build: Path) -> None:
    assert artefact.verify(build)["key"] == "k"


@pytest.mark.parametrize("content", [b"weight", b"weights!", b"wEights"])
def test_a_changed_build_is_refused(build: Path, content: bytes) -> None:
    restamp(build)
    (build / "model.gguf").write_bytes(content)
    with pytest.raises(artefact.Damaged, match="wanted"):
        artefact.verify(build)


def test_a_matching_stamp_spares_the_hash_and_another_does_not(build: Path) -> None:
    restamp(build, sha256="0" * 64)
    artefact.verify(build)
    restamp(build, sha256="0" * 64, ctime_ns=1)
    with pytest.raises(artefact.Damaged, match="sha256"):
        artefact.verify(build)


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"files": []}', '{"files": [{"path": "gone", "size": 1}]}'])
def test_a_record_that_vouches_for_nothing_is_refused(build: Path, record: str) -> None:
    (build / "build.json").write_text(record)
    with pytest.raises(artefact.Damaged):
        artefact.verify(build)


METRICS = "# HELP x\nllamacpp:requests_processing {}\nllamacpp:requests_deferred {}\n"


def test_open_requests_are_those_in_slots_and_those_waiting() -> None:
    assert drain.open_requests(METRICS.format(3, 2)) == 5
    with pytest.raises(ValueError, match="count"):
        drain.open_requests("llamacpp:requests_processing 0\n")


@pytest.fixture
def metrics() -> Any:
    """A server that answers /metrics from a list; None is a 500."""
    answers: list[str | None] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.pop(0)
            body = (found or "busy").encode()
            self.send_response(200 if found else 500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield answers, server.server_port
    server.shutdown()
    server.server_close()


def test_draining_ends_with_two_readings_of_nothing_in_a_row(metrics: Any) -> None:
    answers, port = metrics
    idle = METRICS.format(0, 0)
    answers += [METRICS.format(1, 0), idle, METRICS.format(1, 0), None, idle, idle, "not asked"]
    assert drain.wait("127.0.0.1", port, limit=60, pause=0) == 0
    assert answers == ["not asked"]


def test_draining_gives_up_at_its_limit_and_says_how_many_are_left(metrics: Any) -> None:
    answers, port = metrics
    answers += [METRICS.format(4, 1)]
    assert drain.wait("127.0.0.1", port, limit=0, pause=0) == 5


def test_no_answer_counts_as_busy() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert drain.wait("127.0.0.1", free.getsockname()[1], limit=0, pause=0) == 1


def test_systemd_hears_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "s"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(tmp_path / "s"))
        assert systemd.notify("READY=1", "STATUS=here")
        assert service.recv(100) == b"READY=1\nSTATUS=here"
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert not systemd.notify("READY=1")
