"""What SGLang says: phases of a start, sentences that mean its end, gauges of requests. After the sources of 0.5.23."""

from __future__ import annotations

from typing import Any, Mapping

import ask

BUSY = ("sglang:num_running_reqs", "sglang:num_queue_reqs")
PHASES = (
    (r"fired up and ready to roll|Application startup complete", "serving"),
    (r"Capture .*(CUDA graph|cuda graph|begin)|Capturing batches", "capturing graphs"),
    (r"DeepGEMM|deep_gemm|[Aa]utotun", "tuning kernels"),
    (r"Memory pool end|KV Cache is allocated|max_total_num_tokens=", "allocating cache"),
    (r"Load weight (begin|end)|checkpoint shards|[Ll]oading shards", "loading weights"),
    (r"Init torch distributed", "meeting the other ranks"),
    (r"server_args=|Attention backend", "reading the model"),
)
FATAL = (
    (r"unrecognized arguments|error: argument ", "!a flag it does not have"),
    (r"Not enough memory|mem[-_]fraction[-_]static", "no room within the memory fraction"),
    (r"CUDA out of memory|torch\.OutOfMemoryError", "out of GPU memory"),
    (r"No CUDA GPUs are available|no NVIDIA driver|CUDA driver version is insufficient", "no usable GPU"),
    (r"[Aa]ddress already in use", "the port is taken"),
    (r"NCCL error|ncclUnhandledCudaError|ncclSystemError|ncclRemoteError", "the ranks cannot talk"),
    (r"Scheduler hit an exception|Received sigquit from a child process", "a scheduler died"),
    (r"Watchdog timeout", "the watchdog ended it"),
)


class Foreign(ValueError):
    """A build that is not for this host."""


def check(record: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Compiled kernels are keyed by their own makers: a foreign one is not used, so nothing is refused."""


def open_front(settings: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """SGLang answers by itself."""


def metrics(address: str, port: int) -> str:
    return ask.get(address, port, "/metrics", timeout=5)
