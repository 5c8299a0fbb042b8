"""Random parameters for the lab's model: a seed gives the same bytes on every machine and numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dsdeploy.lab.architecture import Architecture
from dsdeploy.lab.safetensors import Floats

CORRECTION = "e_score_correction_bias"  # kept F32 on disk, as DeepSeek does

# How much each block adds to what flows past it. Small enough that rounding to eight bits does not turn the
# model into another one, large enough that an engine which attends or routes wrongly says something else.
ATTENDED, FED, ROUTED = 0.6, 0.2, 0.08


class Noise:
    """A stream of bell-shaped numbers made with integer arithmetic alone.

    numpy promises the raw stream of a bit generator for ever but not its normal distribution, and a libm's
    logarithm may differ in the last bit. The sum of four 16-bit integers has neither problem.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def draw(self, *shape: int, spread: float) -> Floats:
        """Mean 0, standard deviation `spread`."""
        raw = self._bits.random_raw(int(np.prod(shape))).astype("<u8")
        sums = raw.view("<u2").reshape(-1, 4).sum(axis=1, dtype=np.int64) - 2 * 65535
        deviation = (4 * (65536.0**2 - 1) / 12) ** 0.5
        return np.asarray(sums * (spread / deviation), np.float32).reshape(shape)


def make(shape: Architecture, seed: int, spoken: Sequence[int]) -> dict[str, Floats]:
    """All tensors by their Hugging Face names, in the order of the shards.

    `spoken` are the token ids the model can say: the output rows of all others are zero, so an answer is made
    of whole words, holds no broken UTF-8 and never ends early.
    """
    noise = Noise(seed)
    tensors = {"model.embed_tokens.weight": noise.draw(shape.vocab_size, shape.hidden_size, spread=1.0)}
    for layer in range(shape.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        tensors |= {prefix + name: values for name, values in _attention(shape, noise).items()}
        feed = _dense(shape, noise) if layer < shape.first_k_dense_replace else _experts(shape, noise)
        tensors |= {prefix + "mlp." + name: values for name, values in feed.items()}
    head = np.zeros((shape.vocab_size, shape.hidden_size), np.float32)
    head[list(spoken)] = noise.draw(len(spoken), shape.hidden_size, spread=0.3)
    return tensors | {"model.norm.weight": _ones(shape.hidden_size), "lm_head.weight": head}


def _ones(size: int) -> Floats:
    return np.ones(size, np.float32)


def _linear(noise: Noise, rows: int, columns: int, gain: float = 1.0) -> Floats:
    """A matrix that keeps the size of what it multiplies, times `gain`."""
    return noise.draw(rows, columns, spread=gain / columns**0.5)


def _attention(shape: Architecture, noise: Noise) -> dict[str, Floats]:
    heads, hidden = shape.num_attention_heads, shape.hidden_size
    key = shape.qk_nope_head_dim + shape.qk_rope_head_dim
    latent = shape.kv_lora_rank
    own = {
        "q_a_proj": _linear(noise, shape.q_lora_rank, hidden),
        "q_a_layernorm": _ones(shape.q_lora_rank),
        "q_b_proj": _linear(noise, heads * key, shape.q_lora_rank),
        "kv_a_proj_with_mqa": _linear(noise, latent + shape.qk_rope_head_dim, hidden),
        "kv_a_layernorm": _ones(latent),
        "kv_b_proj": _linear(noise, heads * (shape.qk_nope_head_dim + shape.v_head_dim), latent),
        "o_proj": _linear(noise, hidden, heads * shape.v_head_dim, ATTENDED),
    }
    return {
        "input_layernorm.weight": _ones(hidden),
        **{f"self_attn.{name}.weight": values for name, values in own.items()},
        "post_attention_layernorm.weight": _ones(hidden),
    }


def _gated(prefix: str, hidden: int, inner: int, noise: Noise, gain: float = 1.0) -> dict[str, Floats]:
    return {
        f"{prefix}gate_proj.weight": _linear(noise, inner, hidden),
        f"{prefix}up_proj.weight": _linear(noise, inner, hidden),
        f"{prefix}down_proj.weight": _linear(noise, hidden, inner, gain),
    }


def _dense(shape: Architecture, noise: Noise) -> dict[str, Floats]:
    return _gated("", shape.hidden_size, shape.intermediate_size, noise, FED)


def _experts(shape: Architecture, noise: Noise) -> dict[str, Floats]:
    hidden, inner = shape.hidden_size, shape.moe_intermediate_size
    tensors = {
        "gate.weight": _linear(noise, shape.n_routed_experts, hidden),
        f"gate.{CORRECTION}": noise.draw(shape.n_routed_experts, spread=0.02),
    }
    for expert in range(shape.n_routed_experts):
        tensors |= _gated(f"experts.{expert}.", hidden, inner, noise, ROUTED)
    return tensors | _gated("shared_experts.", hidden, inner, noise, FED)
