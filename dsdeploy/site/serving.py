"""The engine's part of a site file: runtime, precision, how it is split over GPUs and hosts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dsdeploy.site.section import Section
from dsdeploy.site.values import (
    BatchSize,
    Devices,
    Duration,
    Flag,
    Fraction,
    Image,
    LocalPath,
    OpenPort,
    Size,
    Whole,
)  # fmt: skip

Runtime = Literal["llamacpp", "vllm", "sglang", "triton"]
Precision = Literal["f32", "f16", "q8_0", "q4_0", "bf16", "fp16", "fp8", "int8", "fp4", "nvfp4"]


class Batching(Section):
    """How requests are put together."""

    max_batch_size: Whole = Field(64, ge=1, le=4096, description="Requests computed together at most.")
    preferred_batch_size: tuple[BatchSize, ...] = Field(
        (16, 32), max_length=16, description="Sizes to wait for, ascending."
    )
    timeout_micros: Whole = Field(
        10_000, ge=0, le=10_000_000, description="Longest wait for a preferred size, in microseconds."
    )


class ColourPorts(Section):
    """Where each of a host's two releases listens."""

    blue: OpenPort = Field(8101, description="Port of the blue engine.")
    green: OpenPort = Field(8102, description="Port of the green engine.")


class Engine(Section):
    """The server that computes tokens."""

    runtime: Runtime = Field("llamacpp", description="Program that serves the model.")
    precision: Precision = Field("q8_0", description="Number format of the build, or of the checkpoint.")
    memory_fraction: Fraction = Field(0.8, gt=0, le=1, description="Share of memory the engine may use.")
    devices: Devices = Field("all", description="GPUs to use: all, or a list of numbers (CUDA_VISIBLE_DEVICES).")
    tensor_parallel: Whole = Field(1, ge=1, le=64, description="GPUs one copy of the model is split over.")
    pipeline_parallel: Whole = Field(1, ge=1, le=64, description="Groups of layers, each on GPUs of its own.")
    nodes: Whole = Field(
        1, ge=1, le=64, description="Hosts that are one engine: engine hosts in file order, so many at a time."
    )
    context_tokens: Whole = Field(
        4096,
        ge=64,
        le=1_048_576,
        description="Longest prompt and answer together, in tokens, of one request.",
    )
    batching: Batching = Field(Batching(), description="How requests are put together.")
    ports: ColourPorts = Field(ColourPorts(), description="Where each of a host's two releases listens.")
    inner_ports: ColourPorts = Field(
        ColourPorts(blue=8201, green=8202), description="Where the hosts of one engine meet, or Triton listens itself."
    )
    image: Image | None = Field(
        None, description="Container image by digest to run the runtime from, instead of a venv of wheels."
    )
    workspace: Size = Field(
        2**30, ge=2**28, le=2**36, description="Memory TensorRT may use to find kernels; with runtime: triton."
    )
    trust_remote_code: Flag = Field(False, description="Execute Python files that lie with the weights.")
    start_timeout: Duration = Field(600.0, ge=1, description="Longest time from start to the first completion.")
    wheelhouse: LocalPath | None = Field(
        None,
        description="Folder of Python wheels for the runtime, relative to the site file; else collected.",
    )
