"""Do the engine's runtime, precision, hosts and place fit together?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dsdeploy.document import Address

if TYPE_CHECKING:
    from dsdeploy.site.model import Site

Finding = tuple[Address, str, str]

PRECISIONS = {
    "llamacpp": ("f32", "f16", "q8_0", "q4_0"),
    "vllm": ("bf16", "fp16", "fp8", "int8", "fp4", "nvfp4"),
    "sglang": ("bf16", "fp16", "fp8", "int8", "fp4", "nvfp4"),
    "triton": ("fp16", "int8", "f32"),
}
MANY = ("vllm", "sglang")  # runtimes that make one engine of several hosts, or of several groups of layers
WHEELS = "cuda13"  # the stack that the published wheels of vLLM and SGLang are made for: driver 580, CUDA 13


def precision(site: Site) -> Iterator[Finding]:
    """A number format the runtime does not have."""
    engine = site.engine
    allowed = PRECISIONS[engine.runtime]
    if engine.precision not in allowed:
        yield ("engine", "precision"), f"{engine.precision} is not one of {engine.runtime}'s", f"{', '.join(allowed)}"


def place(site: Site) -> Iterator[Finding]:
    """A runtime on a stack it does not run on, or from an image it does not have."""
    engine = site.engine
    if engine.runtime == "llamacpp":
        if engine.image:
            yield ("engine", "image"), "llamacpp runs from wheels", "remove it, or choose another runtime"
        return
    if site.stack == "cpu":
        yield ("engine", "runtime"), f"{engine.runtime} needs GPUs, stack is cpu", "choose a CUDA stack, or llamacpp"
    elif engine.runtime in MANY and not engine.image and site.stack != WHEELS:
        what = f"{engine.runtime}'s wheels are made for stack {WHEELS}, not {site.stack}"
        yield ("engine", "runtime"), what, f"stack: {WHEELS}, or engine.image: one made for {site.stack}, by digest"


def nodes(site: Site) -> Iterator[Finding]:
    """Hosts that do not come out even, or a runtime that cannot be split so."""
    engine, hosts = site.engine, len(site.with_role("engine"))
    for field in ("nodes", "pipeline_parallel"):
        if getattr(engine, field) > 1 and engine.runtime not in MANY:
            yield ("engine", field), f"{engine.runtime} cannot be split so", "write 1, or runtime: vllm or sglang"
    parts = engine.tensor_parallel * engine.pipeline_parallel
    if hosts % engine.nodes:
        what = f"{hosts} engine hosts do not make engines of {engine.nodes}: {hosts % engine.nodes} left over"
        yield ("engine", "nodes"), what, "add hosts, or lower it"
    elif parts % engine.nodes:
        what = f"{engine.tensor_parallel} x {engine.pipeline_parallel} = {parts} parts on {engine.nodes} hosts"
        yield ("engine", "nodes"), what, "tensor_parallel x pipeline_parallel is a multiple of nodes"
