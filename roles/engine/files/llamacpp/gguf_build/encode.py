"""Float32 rows to the bytes of a precision."""

from __future__ import annotations

import re
from math import prod

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

from gguf_build.checkpoint import Checkpoint
from gguf_build.errors import BuildError
from gguf_build.tensors import Part, Tensor

PRECISIONS = {
    "f32": GGMLQuantizationType.F32,
    "f16": GGMLQuantizationType.F16,
    "q8_0": GGMLQuantizationType.Q8_0,
    "q4_0": GGMLQuantizationType.Q4_0,
}
# Few bytes, much harm: four bits there cost more quality than they save memory.
_SENSITIVE = re.compile(r"output\.weight|blk\.\d+\.attn_[kv]_b\.weight")


def kind(tensor: Tensor, precision: str) -> GGMLQuantizationType:
    """The type a tensor is written in: vectors and the expert gate stay F32, and rows that are no multiple of
    a precision's block become F16."""
    if len(tensor.shape) == 1 or tensor.name.endswith("ffn_gate_inp.weight"):
        return GGMLQuantizationType.F32
    wanted = PRECISIONS[precision]
    if wanted == GGMLQuantizationType.Q4_0 and _SENSITIVE.fullmatch(tensor.name):
        wanted = GGMLQuantizationType.Q8_0
    block, _ = GGML_QUANT_SIZES[wanted]
    return wanted if tensor.shape[-1] % block == 0 else GGMLQuantizationType.F16


def size(shape: tuple[int, ...], stored: GGMLQuantizationType) -> int:
    """Bytes of a tensor's data."""
    block, width = GGML_QUANT_SIZES[stored]
    return prod(shape) // int(block) * int(width)


def part(checkpoint: Checkpoint, wanted: Part, stored: GGMLQuantizationType) -> bytes:
    """The bytes of one part. BuildError for a value that is not finite, or has no place in the precision."""
    values = checkpoint.rows(wanted.source, wanted.start, wanted.stop)
    if not np.isfinite(values).all():
        raise BuildError(f"{wanted.source} holds values that are not finite", str(checkpoint.folder))
    if wanted.transposed:
        values = np.ascontiguousarray(values.T)
    with np.errstate(over="ignore"):
        made = quants.quantize(values, stored)
    if stored == GGMLQuantizationType.F16 and not np.isfinite(made).all():
        what = f"{wanted.source} holds values above 65504, too large for f16"
        raise BuildError(what, str(checkpoint.folder), "build at precision q8_0 or f32")
    return bytes(made.tobytes())
