"""Which GGUF tensors a checkpoint becomes, and from which rows of which stored tensors each is made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

from gguf_build.checkpoint import SCALE, Checkpoint
from gguf_build.errors import BuildError
from gguf_build.settings import Settings

CHUNK = 1 << 23  # values converted at a time: 32 MiB as float32
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """Rows `start` to `stop` of a stored tensor, transposed or not; parts follow each other in the output."""

    source: str
    start: int
    stop: int
    transposed: bool = False


@dataclass(frozen=True)
class Tensor:
    """One output tensor. `shape` slowest axis first, as numpy has it; GGUF writes it the other way round."""

    name: str
    shape: Shape
    parts: tuple[Part, ...]


def plan(checkpoint: Checkpoint, settings: Settings) -> tuple[list[Tensor], list[str]]:
    """All output tensors, in file order, and notes on what was left out.

    Every stored tensor must be used or known to be superfluous: one that is dropped unseen would mean wrong
    answers. BuildError for a missing, misshapen or unknown tensor.
    """
    hidden, vocabulary = settings.hidden_size, settings.vocab_size
    found = [_whole(checkpoint, "token_embd.weight", "model.embed_tokens.weight", (vocabulary, hidden))]
    for layer in range(settings.num_hidden_layers):
        found += _layer(checkpoint, settings, layer)
    found.append(_whole(checkpoint, "output_norm.weight", "model.norm.weight", (hidden,)))
    if not settings.tie_word_embeddings:
        found.append(_whole(checkpoint, "output.weight", "lm_head.weight", (vocabulary, hidden)))
    used = {part.source for tensor in found for part in tensor.parts}
    return found, _left_out(checkpoint, settings, used)


def _left_out(checkpoint: Checkpoint, settings: Settings, used: set[str]) -> list[str]:
    rest = [name for name in checkpoint.stored if name not in used and name.removesuffix(SCALE) not in used]
    extra = [name for name in rest if _layer_of(name) >= settings.num_hidden_layers]
    harmless = [name for name in rest if name.endswith("rotary_emb.inv_freq")]
    if settings.tie_word_embeddings:
        harmless.append("lm_head.weight")
    strange = sorted(set(rest) - set(extra) - set(harmless))
    if strange:
        what = f"{len(strange)} tensors have no place in this architecture, first {strange[0]}"
        raise BuildError(what, str(checkpoint.folder))
    if extra:
        return [f"left out {len(extra)} tensors of multi-token prediction: llama.cpp has no use for them"]
    return []


def _layer_of(name: str) -> int:
    match = re.match(r"model\.layers\.(\d+)\.", name)
    return int(match[1]) if match else -1


def _layer(checkpoint: Checkpoint, settings: Settings, layer: int) -> Iterator[Tensor]:
    source, target = f"model.layers.{layer}.", f"blk.{layer}."
    feed = _dense(settings) if layer < settings.first_k_dense_replace else _routed(settings)
    for ours, theirs, shape in [*_attention(settings), *feed]:
        yield _whole(checkpoint, target + ours, source + theirs, shape)
    yield from _key_value(checkpoint, settings, target, source + "self_attn.kv_b_proj.weight")
    if layer >= settings.first_k_dense_replace:
        yield from _experts(checkpoint, settings, target, source + "mlp.experts.")


def _attention(settings: Settings) -> Iterable[tuple[str, str, Shape]]:
    hidden, heads, rank = settings.hidden_size, settings.num_attention_heads, settings.kv_lora_rank
    yield "attn_norm.weight", "input_layernorm.weight", (hidden,)
    if settings.q_lora_rank is None:
        yield "attn_q.weight", "self_attn.q_proj.weight", (heads * settings.key_size, hidden)
    else:
        queries = settings.q_lora_rank
        yield "attn_q_a.weight", "self_attn.q_a_proj.weight", (queries, hidden)
        yield "attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight", (queries,)
        yield "attn_q_b.weight", "self_attn.q_b_proj.weight", (heads * settings.key_size, queries)
    joint = rank + settings.qk_rope_head_dim
    yield "attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight", (joint, hidden)
    yield "attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight", (rank,)
    yield "attn_output.weight", "self_attn.o_proj.weight", (hidden, heads * settings.v_head_dim)
    yield "ffn_norm.weight", "post_attention_layernorm.weight", (hidden,)


def _gated(ours: str, theirs: str, hidden: int, inner: int) -> Iterable[tuple[str, str, Shape]]:
    yield f"ffn_gate{ours}.weight", f"mlp.{theirs}gate_proj.weight", (inner, hidden)
    yield f"ffn_up{ours}.weight", f"mlp.{theirs}up_proj.weight", (inner, hidden)
    yield f"ffn_down{ours}.weight", f"mlp.{theirs}down_proj.weight", (hidden, inner)


def _dense(settings: Settings) -> Iterable[tuple[str, str, Shape]]:
    return _gated("", "", settings.hidden_size, settings.intermediate_size)


def _routed(settings: Settings) -> Iterable[tuple[str, str, Shape]]:
    experts, hidden = settings.n_routed_experts, settings.hidden_size
    yield "ffn_gate_inp.weight", "mlp.gate.weight", (experts, hidden)
    if settings.corrected:
        yield "exp_probs_b.bias", "mlp.gate.e_score_correction_bias", (experts,)
    if settings.n_shared_experts:
        inner = settings.moe_intermediate_size * settings.n_shared_experts
        yield from _gated("_shexp", "shared_experts.", hidden, inner)


def _key_value(checkpoint: Checkpoint, settings: Settings, target: str, source: str) -> Iterator[Tensor]:
    """kv_b holds, head by head, key rows then value rows. Engines want the two apart, the keys transposed, to
    carry a query into the latent space and back out of it."""
    heads, rank = settings.num_attention_heads, settings.kv_lora_rank
    nope, value = settings.qk_nope_head_dim, settings.v_head_dim
    _expect(checkpoint, source, (heads * (nope + value), rank))
    starts = range(0, heads * (nope + value), nope + value)
    keys = tuple(Part(source, start, start + nope, transposed=True) for start in starts)
    values = tuple(Part(source, start + nope, start + nope + value) for start in starts)
    yield Tensor(target + "attn_k_b.weight", (heads, rank, nope), keys)
    yield Tensor(target + "attn_v_b.weight", (heads, value, rank), values)


def _experts(checkpoint: Checkpoint, settings: Settings, target: str, source: str) -> Iterator[Tensor]:
    """The routed experts' matrices, stacked in one tensor a kind."""
    hidden, inner, count = settings.hidden_size, settings.moe_intermediate_size, settings.n_routed_experts
    for kind, shape in (("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner))):
        parts: list[Part] = []
        for expert in range(count):
            name = f"{source}{expert}.{kind}_proj.weight"
            _expect(checkpoint, name, shape)
            parts += _by_chunk(name, shape)
        yield Tensor(f"{target}ffn_{kind}_exps.weight", (count, *shape), tuple(parts))


def _whole(checkpoint: Checkpoint, name: str, source: str, shape: Shape) -> Tensor:
    _expect(checkpoint, source, shape)
    return Tensor(name, shape, tuple(_by_chunk(source, shape)))


def _by_chunk(source: str, shape: Shape) -> Iterator[Part]:
    step = max(1, CHUNK // max(1, prod(shape[1:])))
    for start in range(0, shape[0], step):
        yield Part(source, start, min(start + step, shape[0]))


def _expect(checkpoint: Checkpoint, name: str, shape: Shape) -> None:
    if checkpoint.shape(name) != shape:
        what = f"{name} has shape {list(checkpoint.shape(name))}; by config.json it is {list(shape)}"
        raise BuildError(what, str(checkpoint.folder))
