"""What each precision makes of a model's numbers: weights, and the activations that meet them.

llama.cpp multiplies f16 weights with f16 activations, and q8_0 or q4_0 weights with q8_0 activations.
Rounding both sides the same way in float32 tells what a precision answers, before any engine has run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dsdeploy.lab.safetensors import Floats

BLOCK = 32  # values that share one scale in q8_0 and q4_0
Round = Callable[[Floats], Floats]


def exact(values: Floats) -> Floats:
    """No rounding."""
    return values


def f16(values: Floats) -> Floats:
    """To the nearest half-precision value."""
    return values.astype(np.float16).astype(np.float32)


def q8_0(values: Floats) -> Floats:
    """Blocks of 32 along the last axis: signed bytes times one f16 scale."""
    blocks = values.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    steps = blocks * _inverse(scale)
    nearest = np.trunc(steps + np.copysign(np.float32(0.5), steps))
    return np.asarray(nearest * f16(scale), np.float32).reshape(values.shape)


def q4_0(values: Floats) -> Floats:
    """Blocks of 32 along the last axis: -8..7 times one f16 scale, whose sign the largest value gives."""
    blocks = values.reshape(-1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    scale = largest / np.float32(-8)
    levels = np.clip(np.trunc(blocks * _inverse(scale) + np.float32(8.5)), 0, 15) - 8
    return np.asarray(levels * f16(scale), np.float32).reshape(values.shape)


def _inverse(scale: Floats) -> Floats:
    """Zero for the zero scale of an empty block. Engines multiply by it too, so halves round the same way."""
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)


WEIGHTS: Mapping[str, Round] = {"f32": exact, "f16": f16, "q8_0": q8_0, "q4_0": q4_0}
ACTIVATIONS: Mapping[str, Round] = {"f32": exact, "f16": f16, "q8_0": q8_0, "q4_0": q8_0}


def of_tensor(precision: str, kind: str) -> str:
    """The precision a build really gives a tensor of this kind; q4_0 spares the sensitive ones."""
    return "q8_0" if precision == "q4_0" and kind in ("k_b", "v_b", "lm_head") else precision
