"""A plain float32 forward pass of DeepSeek-V3's architecture, to know what a right engine must answer.

It shares no code with the engine or its build: it reads the published shards. Attention runs in the latent
space (queries through k_b, values through v_b after the softmax), as MLA engines do, so that the rounding
of a precision can be applied where an engine applies it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dsdeploy.lab import rounding, safetensors
from dsdeploy.lab.routing import Routing
from dsdeploy.lab.safetensors import Floats


@dataclass(frozen=True)
class Linear:
    """A weight (rows, columns), rounded already, and the rounding of what it is multiplied with."""

    weight: Floats
    rounded: rounding.Round

    def __call__(self, values: Floats) -> Floats:
        """(…, columns) -> (…, rows)."""
        product: Floats = self.rounded(values) @ self.weight.swapaxes(-1, -2)
        return product


@dataclass
class Cache:
    """What attention remembers of earlier tokens: per layer the latents and the rotated keys."""

    length: int = 0
    latents: dict[int, Floats] = field(default_factory=dict)
    keys: dict[int, Floats] = field(default_factory=dict)

    def extend(self, layer: int, latent: Floats, key: Floats) -> tuple[Floats, Floats]:
        if layer in self.latents:
            latent = np.concatenate([self.latents[layer], latent])
            key = np.concatenate([self.keys[layer], key])
        self.latents[layer], self.keys[layer] = latent, key
        return latent, key


class Model:
    """One checkpoint at one precision. `logits` is the only thing asked of it."""

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Floats], precision: str = "f32") -> None:
        if config.get("rope_scaling") or not config.get("rope_interleave", True):
            raise ValueError("the reference knows plain interleaved RoPE only")
        self.config = config
        self._tensors = tensors
        self._precision = precision
        self._linears: dict[str, Linear] = {}
        self._embedding = rounding.WEIGHTS[precision](tensors["model.embed_tokens.weight"])
        self._routing = Routing(
            config["n_routed_experts"],
            config["num_experts_per_tok"],
            config["n_group"],
            config["topk_group"],
            config["routed_scaling_factor"],
        )

    def at(self, precision: str) -> Model:
        """The same checkpoint at another precision: f32, f16, q8_0 or q4_0."""
        return Model(self.config, self._tensors, precision)

    def logits(self, tokens: list[int], cache: Cache) -> Floats:
        """Scores over the vocabulary for the token after `tokens`, which follow what `cache` holds."""
        hidden = self._embedding[tokens]
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            normal = self._norm(hidden, prefix + "input_layernorm.weight")
            hidden = hidden + self._attention(layer, normal, cache)
            normal = self._norm(hidden, prefix + "post_attention_layernorm.weight")
            dense = layer < self.config["first_k_dense_replace"]
            hidden = hidden + (self._gated if dense else self._experts)(prefix + "mlp.", normal)
        cache.length += len(tokens)
        last = self._norm(hidden[-1:], "model.norm.weight")
        scores: Floats = self._linear("lm_head.weight", "lm_head")(last)[0]
        return scores

    def _norm(self, values: Floats, name: str) -> Floats:
        mean = np.einsum("...i,...i->...", values, values)[..., None] / np.float32(values.shape[-1])
        scaled: Floats = values / np.sqrt(mean + np.float32(self.config["rms_norm_eps"]))
        return scaled * self._tensors[name]

    def _linear(self, name: str, kind: str = "") -> Linear:
        """The named weight, rounded on first use. Kinds k_b and v_b are the two halves of kv_b, by head."""
        found = self._linears.get(name + kind)
        if found is None:
            weight = self._tensors[name]
            if kind in ("k_b", "v_b"):
                nope = self.config["qk_nope_head_dim"]
                heads = weight.reshape(self.config["num_attention_heads"], -1, weight.shape[-1])
                weight = heads[:, :nope].swapaxes(1, 2) if kind == "k_b" else heads[:, nope:]
            precision = rounding.of_tensor(self._precision, kind)
            weight = rounding.WEIGHTS[precision](np.ascontiguousarray(weight))
            found = self._linears[name + kind] = Linear(weight, rounding.ACTIVATIONS[precision])
        return found

    def _attention(self, layer: int, hidden: Floats, cache: Cache) -> Floats:
        config, own = self.config, f"model.layers.{layer}.self_attn."
        rank, nope = config["kv_lora_rank"], config["qk_nope_head_dim"]
        compressed = self._norm(self._linear(own + "q_a_proj.weight")(hidden), own + "q_a_layernorm.weight")
        queries = self._linear(own + "q_b_proj.weight")(compressed)
        queries = queries.reshape(len(hidden), config["num_attention_heads"], -1).swapaxes(0, 1)
        joint = self._linear(own + "kv_a_proj_with_mqa.weight")(hidden)
        latents, keys = cache.extend(
            layer,
            self._norm(joint[:, :rank], own + "kv_a_layernorm.weight"),
            self._rotate(joint[:, rank:], cache.length),
        )
        inward = self._linear(own + "kv_b_proj.weight", "k_b")(queries[..., :nope])
        turned = self._rotate(queries[..., nope:], cache.length)
        scores = (inward @ latents.T + turned @ keys.T) / np.float32(queries.shape[-1] ** 0.5)
        position = np.arange(len(latents))
        future = position > position[-len(hidden) :, None]
        scores = np.where(future, -np.inf, scores)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        seen = weights / weights.sum(axis=-1, keepdims=True) @ latents
        values = self._linear(own + "kv_b_proj.weight", "v_b")(seen)
        return self._linear(own + "o_proj.weight")(values.swapaxes(0, 1).reshape(len(hidden), -1))

    def _rotate(self, values: Floats, start: int) -> Floats:
        """RoPE on neighbouring pairs of (…, tokens, dimensions); the first token stands at `start`."""
        tokens, size = values.shape[-2:]
        speed = self.config["rope_theta"] ** (-np.arange(0, size, 2) / size)
        angle = np.outer(np.arange(start, start + tokens), speed)
        cosine, sine = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        even, odd = values[..., 0::2], values[..., 1::2]
        turned = np.stack([even * cosine - odd * sine, even * sine + odd * cosine], axis=-1)
        return turned.reshape(values.shape)

    def _gated(self, prefix: str, hidden: Floats) -> Floats:
        gate = self._linear(prefix + "gate_proj.weight")(hidden)
        up = self._linear(prefix + "up_proj.weight")(hidden)
        return self._linear(prefix + "down_proj.weight")(gate / (1 + np.exp(-gate)) * up)

    def _experts(self, prefix: str, hidden: Floats) -> Floats:
        logits = hidden @ self._tensors[prefix + "gate.weight"].T  # the gate is never rounded
        chosen, weights = self._routing.choose(logits, self._tensors[prefix + "gate.e_score_correction_bias"])
        total = self._gated(prefix + "shared_experts.", hidden)
        for expert in np.unique(chosen):
            token, place = np.nonzero(chosen == expert)
            made = self._gated(f"{prefix}experts.{expert}.", hidden[token])
            total[token] += weights[token, place, None] * made
        return total


def load(folder: Path, precision: str = "f32") -> Model:
    """The checkpoint in `folder`: config.json, the index, and the shards it names."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    tensors: dict[str, Floats] = {}
    for shard in sorted(set(index["weight_map"].values())):
        tensors |= safetensors.read(folder / shard)
    return Model(json.loads((folder / "config.json").read_text()), tensors, precision)
