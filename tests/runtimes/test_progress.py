"""Slow or dead? Lines as the engines print them, made from the format strings in the sources of vLLM 0.33.0 and
SGLang 0.5.23 (no GPU was at hand to capture whole logs), and the time."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from .examples import program

VLLM = """\
INFO 11-22 10:00:00 [core.py:140] Initializing a V1 LLM engine (v0.33.0) with config: model='/srv/w'
INFO 11-22 10:00:04 [parallel_state.py:1400] rank 0 in world size 8 is assigned as DP rank 0, PP rank 0, TP rank 0
INFO 11-22 10:00:05 [gpu_model_runner.py:4979] Starting to load model /srv/dsdeploy/weights/deepseek-v3/v1...
Loading safetensors checkpoint shards:   0% Completed | 0/163 [00:00<?, ?it/s]
Loading safetensors checkpoint shards:  50% Completed | 82/163 [05:11<05:04,  3.76s/it]
Loading safetensors checkpoint shards: 100% Completed | 163/163 [10:20<00:00,  3.81s/it]
INFO 11-22 10:10:31 [gpu_model_runner.py:5089] Model loading took 80.21 GiB memory and 621.100000 seconds
INFO 11-22 10:10:40 [backends.py:1188] Dynamo bytecode transform time: 9.41 s
INFO 11-22 10:12:00 [monitor.py:20] torch.compile took 80.10 s in total
DeepGEMM warmup:  12%|█▏        | 1200/10000 [02:00<14:40, 10.0it/s]
INFO 11-22 10:26:00 [gpu_worker.py:773] Available KV cache memory: 31.20 GiB
Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  40%|████      | 27/67 [00:10<00:15,  2.6it/s]
INFO 11-22 10:27:00 [core.py:413] init engine (profile, create kv cache, warmup model) took 990.00 s
INFO:     Application startup complete."""
PHASES = ["reading the model", "meeting the other ranks", "loading weights", "loading weights", "loading weights",
          "loading weights", "loading weights", "compiling", "compiling", "tuning kernels", "allocating cache",
          "capturing graphs", "warmed up", "serving"]  # fmt: skip
SGLANG = """\
[2026-11-22 10:00:00] server_args=ServerArgs(model_path='/srv/w')
[2026-11-22 10:00:03 TP0] Init torch distributed begin.
[2026-11-22 10:00:09 TP0] Load weight begin. avail mem=139.80 GB
Multi-thread loading shards:  50% Completed | 81/163 [02:00<02:00]
[2026-11-22 10:04:09 TP0] Load weight end. type=DeepseekV3ForCausalLM
[2026-11-22 10:04:10 TP0] Capture decode CUDA graph begin. This can take up to several minutes.
The server is fired up and ready to roll!"""


@pytest.fixture(scope="module")
def progress() -> ModuleType:
    return program("vllm", "progress")


def of(progress: ModuleType, runtime: str, lines: str, patience: float = 900.0) -> Any:
    words = program(runtime, "words")
    return progress.read(words.PHASES, words.FATAL, lines.splitlines(), patience)


def test_the_phases_of_a_long_start_are_told(progress: ModuleType) -> None:
    lines = VLLM.splitlines()
    assert [of(progress, "vllm", "\n".join(lines[: number + 1])).phase for number in range(len(lines))] == PHASES
    assert str(of(progress, "vllm", "\n".join(lines[:5]))) == "loading weights, 50 %"


def test_sglang_has_its_own_words(progress: ModuleType) -> None:
    lines = SGLANG.splitlines()
    told = [of(progress, "sglang", "\n".join(lines[: number + 1])).phase for number in range(len(lines))]
    assert told == ["reading the model", "meeting the other ranks", "loading weights", "loading weights",
                    "loading weights", "capturing graphs", "serving"]  # fmt: skip


def test_a_count_that_goes_up_is_progress_and_one_that_stands_is_not(progress: ModuleType) -> None:
    found = of(progress, "vllm", "")
    for second, percent in ((0, 10), (800, 20), (1600, 30)):
        found.line(f"Loading safetensors checkpoint shards: {percent}% Completed | {percent}/100", second)
        assert not found.stalled(second + 850)
    found.line("Loading safetensors checkpoint shards: 30% Completed | 30/100", 2400)
    assert "no progress for 900 s while loading weights, 30 %" in found.stalled(2500)


def test_a_heartbeat_is_no_life(progress: ModuleType) -> None:
    """What vLLM says every minute while nothing happens: the same sentence, other numbers."""
    found = of(progress, "vllm", "")
    for minute in range(20):
        text = f"INFO 11-22 10:{minute:02}:00 [shm_broadcast.py:112] No available shared memory broadcast block found"
        found.line(text, minute * 60.0)
    assert found.stalled(19 * 60.0)


def test_silence_is_no_death_while_bytes_are_read(progress: ModuleType) -> None:
    found = of(progress, "vllm", "")
    for sample in range(600):
        found.grown({"process 7": sample * 100 * 2**20, "cache": 0}, sample * 5.0)
    assert not found.stalled(3000.0)
    for sample in range(600, 800):
        found.grown({"process 7": 600 * 100 * 2**20 + sample * 1000, "cache": 0}, sample * 5.0)
    assert found.stalled(4000.0)


def test_a_compiler_that_fills_its_cache_is_alive(progress: ModuleType) -> None:
    found = of(progress, "vllm", "")
    for sample in range(400):
        found.grown({"process 7": 0, "cache": sample * 17}, sample * 5.0)
    assert not found.stalled(2000.0)


@pytest.mark.parametrize(
    ("runtime", "line", "hopeless"),
    [
        ("vllm", "vllm: error: unrecognized arguments: --nonsense", True),
        ("vllm", "ValueError: To serve at least one request with the model's max seq len (163840), 9.5 GiB KV cache is "
                 "needed, which is larger than the available KV cache memory (2.1 GiB).", True),
        ("vllm", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", False),
        ("vllm", "RuntimeError: Engine core initialization failed. See root cause above.", False),
        ("vllm", "ValueError: Head dimension 96 is not supported by MLA.", True),
        ("sglang", "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", False),
        ("sglang", "torch.distributed.DistBackendError: NCCL error in: NCCLUtils.cpp:94, unhandled cuda error", False),
        ("triton", "E1122 model_lifecycle.cc:621] failed to load 'm' version 1: Internal: unable to load plan", True),
    ],
)  # fmt: skip
def test_sentences_that_end_a_start_are_known(progress: ModuleType, runtime: str, line: str, hopeless: bool) -> None:
    found = of(progress, runtime, f"some line\n{line}\nsome other line")
    assert line[:60] in found.why and found.hopeless is hopeless


def test_an_ordinary_start_has_no_such_sentence(progress: ModuleType) -> None:
    assert of(progress, "vllm", VLLM).why == of(progress, "sglang", SGLANG).why == ""
