"""The shape of the lab's model: DeepSeek-V3's architecture with very few of everything.

Attention keeps DeepSeek's real head dimensions (kv_lora 512, rope 64, nope and v 128), because some runtimes
have MLA kernels for no others and say so only at the first request. The rest is as small as it can be.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """Dimensions, named as in config.json. All counts; nothing here has a unit."""

    vocab_size: int
    hidden_size: int = 128
    intermediate_size: int = 256
    moe_intermediate_size: int = 64
    num_hidden_layers: int = 3
    first_k_dense_replace: int = 1
    num_attention_heads: int = 2
    q_lora_rank: int = 64
    kv_lora_rank: int = 512
    qk_nope_head_dim: int = 128
    qk_rope_head_dim: int = 64
    v_head_dim: int = 128
    n_routed_experts: int = 8
    num_experts_per_tok: int = 2
    n_group: int = 4
    topk_group: int = 2
    max_position_embeddings: int = 8192

    def config(self, bos: int, eos: int, pad: int) -> dict[str, object]:
        """config.json as published with DeepseekV3ForCausalLM checkpoints."""
        return {
            "architectures": ["DeepseekV3ForCausalLM"],
            "model_type": "deepseek_v3",
            **vars(self),
            "num_key_value_heads": self.num_attention_heads,
            "n_shared_experts": 1,
            "routed_scaling_factor": 2.5,
            "topk_method": "noaux_tc",
            "scoring_func": "sigmoid",
            "moe_layer_freq": 1,
            "norm_topk_prob": True,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "rope_scaling": None,
            "rope_interleave": True,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "tie_word_embeddings": False,
            "num_nextn_predict_layers": 0,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "pad_token_id": pad,
        }
