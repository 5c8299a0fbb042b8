"""From a release's settings to llama.cpp's numbers, and whether they fit the memory they may use. Pure.

batching.max_batch_size   -> slots: requests decoded together, each with a context of its own
context_tokens            -> context of one slot (never more than the model was trained for)
max_batch_size            -> n_batch, n_ubatch hold at least that many tokens: a step of all slots is one pass
preferred_batch_size, timeout_micros have no counterpart: llama.cpp batches continuously, each step takes
whatever requests are there and never waits for more. They are accepted (other runtimes use them) and said to
be unused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

_MAX_SLOTS = 256  # llama.cpp's LLAMA_MAX_SEQ
_F16 = 2  # bytes of one cache element


class DoesNotFit(ValueError):
    """The settings ask for more than they allow themselves; the message shows the arithmetic."""


@dataclass(frozen=True)
class Need:
    """What the model takes, in bytes and tokens."""

    slots: int
    context: int
    batch: int
    micro_batch: int
    model: int
    cache_per_token: int
    working: int

    @property
    def cache(self) -> int:
        return self.slots * self.context * self.cache_per_token

    @property
    def total(self) -> int:
        return self.model + self.cache + self.working


def cache_per_token(meta: Mapping[str, Any]) -> int:
    """Bytes of KV cache a token takes. With MLA only the compressed K is kept, V is a view of it."""
    arch = meta["general.architecture"]
    layers, width = int(meta[f"{arch}.block_count"]), int(meta[f"{arch}.embedding_length"])
    heads = meta[f"{arch}.attention.head_count"]
    first = heads[0] if isinstance(heads, tuple) else heads
    key = int(meta.get(f"{arch}.attention.key_length", width // max(int(first), 1)))
    value = int(meta.get(f"{arch}.attention.value_length", key))
    kept = meta.get(f"{arch}.attention.head_count_kv", heads)
    cached_heads = sum(kept) if isinstance(kept, tuple) else int(kept) * layers
    mla = int(meta.get(f"{arch}.attention.key_length_mla", 0)) > 0
    return cached_heads * (key if mla else key + value) * _F16


def need(settings: Mapping[str, Any], meta: Mapping[str, Any], model_bytes: int) -> Need:
    """The memory and batch sizes these settings ask for. DoesNotFit on more slots than llama.cpp has."""
    slots = int(settings["batching"]["max_batch_size"])
    if slots > _MAX_SLOTS:
        raise DoesNotFit(f"batching.max_batch_size {slots}: llama.cpp decodes at most {_MAX_SLOTS} together")
    arch = meta["general.architecture"]
    trained = int(meta.get(f"{arch}.context_length", settings["context_tokens"]))
    micro = max(512, slots)
    vocabulary = int(meta.get(f"{arch}.vocab_size", 0))
    return Need(
        slots=slots,
        context=min(int(settings["context_tokens"]), trained),
        batch=max(2048, slots),
        micro_batch=micro,
        model=model_bytes,
        cache_per_token=cache_per_token(meta),
        working=micro * (vocabulary + 4 * int(meta[f"{arch}.embedding_length"])) * 4,
    )


def check(wanted: Need, memory: int, fraction: float, where: str) -> None:
    """Raises DoesNotFit when the need exceeds ``fraction`` of ``memory`` bytes."""
    allowed = int(memory * fraction)
    if wanted.total <= allowed:
        return
    room = allowed - wanted.model - wanted.working
    slots = room // (wanted.context * wanted.cache_per_token) if room > 0 else 0
    remedy = f"batching.max_batch_size {slots} would fit" if slots else "the model alone does not fit"
    raise DoesNotFit(f"{arithmetic(wanted)} > {fraction} x {where} {mib(memory)} = {mib(allowed)}; {remedy}")


def arithmetic(wanted: Need) -> str:
    """The need, as a sum an operator can follow."""
    return (
        f"model {mib(wanted.model)} + cache {wanted.slots} slots x {wanted.context} tokens x "
        f"{wanted.cache_per_token} B = {mib(wanted.cache)} + working memory {mib(wanted.working)}"
        f" = {mib(wanted.total)}"
    )


def mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
