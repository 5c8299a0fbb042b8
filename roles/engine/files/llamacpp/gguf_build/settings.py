"""What config.json says of the architecture, checked: only what llama.cpp computes correctly goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gguf_build.errors import BuildError

ARCHITECTURES = ("DeepseekV3ForCausalLM", "DeepseekV2ForCausalLM")


@dataclass(frozen=True)
class Settings:
    """The dimensions that tensors and metadata need, named as in config.json."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    moe_intermediate_size: int
    num_hidden_layers: int
    first_k_dense_replace: int
    num_attention_heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    n_routed_experts: int
    n_shared_experts: int
    num_experts_per_tok: int
    n_group: int
    topk_group: int
    max_position_embeddings: int
    routed_scaling_factor: float
    norm_topk_prob: bool
    rms_norm_eps: float
    tie_word_embeddings: bool
    sigmoid: bool
    corrected: bool
    rope_theta: float
    rope_scaling: Mapping[str, Any]

    @property
    def key_size(self) -> int:
        """Of one head, position-free and rotated parts together."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim


def read(config: Mapping[str, Any]) -> Settings:
    """Settings of a DeepSeek-V2 or V3 config. BuildError for another architecture, or an option of it that
    would silently give other answers."""
    _refuse_foreign(config)
    rope = config.get("rope_parameters") or {}
    try:
        return Settings(
            **{name: int(config[name]) for name in _COUNTS},
            q_lora_rank=None if config.get("q_lora_rank") is None else int(config["q_lora_rank"]),
            n_shared_experts=int(config.get("n_shared_experts") or 0),
            n_group=int(config.get("n_group") or 1),
            topk_group=int(config.get("topk_group") or 1),
            routed_scaling_factor=float(config.get("routed_scaling_factor", 1.0)),
            norm_topk_prob=bool(config.get("norm_topk_prob", False)),
            rms_norm_eps=float(config.get("rms_norm_eps", 1e-6)),
            tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
            sigmoid=config.get("scoring_func", "softmax") == "sigmoid",
            corrected=config.get("topk_method") == "noaux_tc",
            rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
            rope_scaling=_scaling(config.get("rope_scaling") or rope),
        )
    except KeyError as error:
        raise BuildError(f"config.json lacks {error.args[0]}", "config.json") from error
    except (TypeError, ValueError) as error:
        raise BuildError(f"config.json has a value of the wrong type: {error}", "config.json") from error


_COUNTS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "moe_intermediate_size",
    "num_hidden_layers",
    "first_k_dense_replace",
    "num_attention_heads",
    "kv_lora_rank",
    "qk_nope_head_dim",
    "qk_rope_head_dim",
    "v_head_dim",
    "n_routed_experts",
    "num_experts_per_tok",
    "max_position_embeddings",
)


def _refuse_foreign(config: Mapping[str, Any]) -> None:
    names = config.get("architectures") or ["none"]
    if names[0] not in ARCHITECTURES:
        known = " and ".join(ARCHITECTURES)
        raise BuildError(f"unsupported architecture {names[0]}", "config.json", f"this build knows {known}")
    quantised = config.get("quantization_config") or {}
    wanted = {
        "topk_method": (config.get("topk_method", "greedy"), ("noaux_tc", "greedy")),
        "scoring_func": (config.get("scoring_func", "softmax"), ("sigmoid", "softmax")),
        "hidden_act": (config.get("hidden_act", "silu"), ("silu",)),
        "attention_bias": (bool(config.get("attention_bias", False)), (False,)),
        "rope_interleave": (bool(config.get("rope_interleave", True)), (True,)),
        "moe_layer_freq": (config.get("moe_layer_freq", 1), (1,)),
        "quantization_config.quant_method": (quantised.get("quant_method", "fp8"), ("fp8",)),
    }
    for name, (value, allowed) in wanted.items():
        if value not in allowed:
            raise BuildError(f"unsupported {name} {value!r}", "config.json", f"supported: {allowed}")


def _scaling(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """RoPE scaling: empty for none, else yarn's with its required values."""
    kind = given.get("type") or given.get("rope_type") or "default"
    if kind == "default":
        return {}
    if kind != "yarn":
        raise BuildError(f"unsupported rope_scaling type {kind!r}", "config.json", "supported: yarn")
    mscale, all_dim = float(given.get("mscale") or 1.0), float(given.get("mscale_all_dim") or 0.0)
    if mscale != (all_dim or 1.0):
        what = f"unsupported rope_scaling: mscale {mscale} with mscale_all_dim {all_dim}"
        raise BuildError(what, "config.json", "llama.cpp takes the two to be equal")
    return {
        "factor": float(given["factor"]),
        "original": int(given["original_max_position_embeddings"]),
        "beta_fast": float(given.get("beta_fast", 32)),
        "beta_slow": float(given.get("beta_slow", 1)),
        "mscale_all_dim": all_dim,
    }
