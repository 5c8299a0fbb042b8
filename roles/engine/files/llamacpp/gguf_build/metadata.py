"""The GGUF key-value header of a deepseek2 model."""

from __future__ import annotations

from gguf import ExpertGatingFuncType, GGUFWriter, LlamaFileType, RopeScalingType

from gguf_build.settings import Settings
from gguf_build.vocabulary import Vocabulary

ARCHITECTURE = "deepseek2"  # llama.cpp's name for V2 and V3 alike
FILE_TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q4_0": LlamaFileType.MOSTLY_Q4_0,
}


def add(writer: GGUFWriter, name: str, settings: Settings, vocabulary: Vocabulary, precision: str) -> None:
    """Everything but the tensors."""
    writer.add_name(name)
    writer.add_file_type(FILE_TYPES[precision])
    writer.add_quantization_version(2)
    _dimensions(writer, settings)
    _attention(writer, settings)
    _experts(writer, settings)
    _rope(writer, settings)
    _vocabulary(writer, vocabulary)


def _dimensions(writer: GGUFWriter, settings: Settings) -> None:
    writer.add_block_count(settings.num_hidden_layers)
    writer.add_context_length(settings.max_position_embeddings)
    writer.add_embedding_length(settings.hidden_size)
    writer.add_feed_forward_length(settings.intermediate_size)
    writer.add_vocab_size(settings.vocab_size)
    writer.add_layer_norm_rms_eps(settings.rms_norm_eps)


def _attention(writer: GGUFWriter, settings: Settings) -> None:
    """MLA as the engine runs it: one key-value head in the latent space, taken apart again per query head."""
    writer.add_head_count(settings.num_attention_heads)
    writer.add_head_count_kv(1)
    if settings.q_lora_rank is not None:
        writer.add_q_lora_rank(settings.q_lora_rank)
    writer.add_kv_lora_rank(settings.kv_lora_rank)
    writer.add_key_length(settings.kv_lora_rank + settings.qk_rope_head_dim)
    writer.add_value_length(settings.kv_lora_rank)
    writer.add_key_length_mla(settings.key_size)
    writer.add_value_length_mla(settings.v_head_dim)


def _experts(writer: GGUFWriter, settings: Settings) -> None:
    writer.add_leading_dense_block_count(settings.first_k_dense_replace)
    writer.add_expert_count(settings.n_routed_experts)
    writer.add_expert_used_count(settings.num_experts_per_tok)
    writer.add_expert_shared_count(settings.n_shared_experts)
    writer.add_expert_feed_forward_length(settings.moe_intermediate_size)
    writer.add_expert_weights_scale(settings.routed_scaling_factor)
    writer.add_expert_weights_norm(settings.norm_topk_prob)
    gating = ExpertGatingFuncType.SIGMOID if settings.sigmoid else ExpertGatingFuncType.SOFTMAX
    writer.add_expert_gating_func(gating)
    if settings.corrected and settings.n_group > 1:
        writer.add_expert_group_count(settings.n_group)
        writer.add_expert_group_used_count(settings.topk_group)


def _rope(writer: GGUFWriter, settings: Settings) -> None:
    writer.add_rope_dimension_count(settings.qk_rope_head_dim)
    writer.add_rope_freq_base(settings.rope_theta)
    yarn = settings.rope_scaling
    if not yarn:
        return
    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(yarn["factor"])
    writer.add_rope_scaling_orig_ctx_len(yarn["original"])
    writer.add_rope_scaling_yarn_beta_fast(yarn["beta_fast"])
    writer.add_rope_scaling_yarn_beta_slow(yarn["beta_slow"])
    if yarn["mscale_all_dim"]:
        # The engine divides by this 0.1 again; it is what it expects of a deepseek2 file.
        writer.add_rope_scaling_yarn_log_mul(0.1 * yarn["mscale_all_dim"])


def _vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.cut)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    if vocabulary.begin is not None:
        writer.add_bos_token_id(vocabulary.begin)
    if vocabulary.end is not None:
        writer.add_eos_token_id(vocabulary.end)
    if vocabulary.pad is not None:
        writer.add_pad_token_id(vocabulary.pad)
    writer.add_add_bos_token(vocabulary.add_begin)
    writer.add_add_eos_token(False)
    if vocabulary.chat_template:
        writer.add_chat_template(vocabulary.chat_template)
