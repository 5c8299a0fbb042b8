"""What vLLM says: phases of a start, sentences that mean its end, gauges of requests. After the sources of 0.33.0."""

from __future__ import annotations

from typing import Any, Mapping

import ask

BUSY = ("vllm:num_requests_running", "vllm:num_requests_waiting")
PHASES = (
    (r"Application startup complete|Starting vLLM (API )?server", "serving"),
    (r"init engine \(profile", "warmed up"),
    (r"Capturing .*(CUDA|cuda) ?graphs|Graph capturing finished", "capturing graphs"),
    (r"Available KV cache memory|GPU KV cache size|Maximum concurrency", "allocating cache"),
    (r"DeepGEMM|[Aa]utotun|[Ff]lash[Ii]nfer.*warm", "tuning kernels"),
    (r"torch\.compile|Dynamo bytecode|Compiling a graph|compiled graph", "compiling"),
    (r"Loading safetensors|Starting to load model|Model loading took|Loading weights took", "loading weights"),
    (r"world_size|rank \d+ .*(assigned|connect)|init_process_group|NCCL version", "meeting the other ranks"),
    (r"Initializing a V1 LLM engine|Resolved architecture", "reading the model"),
)
FATAL = (
    (r"unrecognized arguments|error: argument ", "!a flag it does not have"),
    (r"is larger than the available KV cache|No available memory for the cache blocks", "!no room for the cache"),
    (r"Free memory on device .* is less than desired", "the GPUs' memory is taken"),
    (r"CUDA out of memory|torch\.OutOfMemoryError", "out of GPU memory"),
    (r"No CUDA GPUs are available|no NVIDIA driver|CUDA driver version is insufficient", "no usable GPU"),
    (r"Head dimension .* is not supported|not supported for now|are not supported for", "!the model is not supported"),
    (r"[Aa]ddress already in use", "the port is taken"),
    (r"NCCL error|ncclUnhandledCudaError|ncclSystemError|ncclRemoteError", "the ranks cannot talk"),
    (r"EngineDeadError|Engine core initialization failed|EngineCore failed to start", "the engine core died"),
)


class Foreign(ValueError):
    """A build that is not for this host."""


def check(record: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Compiled kernels are keyed by their own makers: a foreign one is not used, so nothing is refused."""


def open_front(settings: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """vLLM answers by itself."""


def metrics(address: str, port: int) -> str:
    return ask.get(address, port, "/metrics", timeout=5)
