"""The lab model's tokenizer: byte-level BPE over 256 bytes and some sixty words of this trade."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

_WORDS = (
    "a about after all and answer are as at batch before block cache can cluster core count deep drain "
    "each engine every fast follow for from gate good green happy has have head host hot in into is it "
    "keep key layer leader light lock long make many memory model more move new node not of old on one "
    "open or out over path plan port quiet quorum rack read ready release request route run safe serve "
    "shard signal site slow small so step still store stream switch that the then they this time to token "
    "true two under up version wait warm we weight when will with word work world "
)
WORDS = tuple(_WORDS.split())
BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
SPECIAL = (BOS, EOS, PAD, "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '<｜Assistant｜>' + message['content'] + eos_token }}"
    "{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)

# GPT-2's pre-tokenizer. `re` has no \p{L}; [^\W\d_] is the nearest, and the same for every ASCII text.
_PIECE = re.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+",
)


def byte_letters() -> dict[int, str]:
    """The printable letter that stands for each byte in byte-level BPE, as GPT-2 chose them."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}


@dataclass(frozen=True)
class Tokenizer:
    """Vocabulary and merges. `vocab` holds no special tokens; those are in `special`."""

    vocab: Mapping[str, int]
    merges: Sequence[tuple[str, str]]
    special: Mapping[str, int]

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        return {pair: rank for rank, pair in enumerate(self.merges)}

    @cached_property
    def _letters(self) -> dict[int, str]:
        return byte_letters()

    @cached_property
    def _tokens(self) -> dict[int, str]:
        return {number: token for token, number in self.vocab.items()}

    def encode(self, text: str) -> list[int]:
        """Token ids with the begin token first, as every runtime encodes a raw prompt of this model."""
        ids = [self.special[BOS]]
        for piece in _PIECE.findall(text):
            ids += [self.vocab[token] for token in self._merge(piece.encode())]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ordinary tokens; KeyError for a special one, which has no text."""
        bytes_of = {letter: byte for byte, letter in self._letters.items()}
        return bytes(bytes_of[letter] for number in ids for letter in self._tokens[number]).decode()

    def _merge(self, piece: bytes) -> list[str]:
        """Join the adjacent pair of the lowest rank until none is left that the merges know."""
        parts = [self._letters[byte] for byte in piece]
        unknown = len(self._ranks)
        while len(parts) > 1:
            ranks = [self._ranks.get(pair, unknown) for pair in pairwise(parts)]
            best = min(ranks)
            if best == unknown:
                break
            at = ranks.index(best)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return parts

    def words(self) -> list[int]:
        """Ids of the whole words: what the model may say."""
        space = self._letters[ord(" ")]
        return [self.vocab[space + word] for word in WORDS]


def make() -> Tokenizer:
    """The lab's tokenizer; the same every time. Every merge starts at a space, so no word breaks another."""
    letters = byte_letters()
    tokens = [letters[byte] for byte in range(256)]
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        start = letters[ord(" ")]
        for letter in word:
            merges.setdefault((start, letter))
            start += letter
    vocab = {token: number for number, token in enumerate([*tokens, *(a + b for a, b in merges)])}
    special = {token: len(vocab) + number for number, token in enumerate(SPECIAL)}
    return Tokenizer(vocab, tuple(merges), special)


def load(document: Mapping[str, object]) -> Tokenizer:
    """The tokenizer that a tokenizer.json of ours describes."""
    model = document["model"]
    added = document["added_tokens"]
    assert isinstance(model, dict) and isinstance(added, list)
    return Tokenizer(
        vocab=model["vocab"],
        merges=tuple((first, second) for first, second in model["merges"]),
        special={token["content"]: token["id"] for token in added},
    )


def document(tokenizer: Tokenizer) -> dict[str, object]:
    """tokenizer.json: what the tokenizers library and the build read."""
    begin = {"SpecialToken": {"id": BOS, "type_id": 0}}
    bytes_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": not token.endswith("think>"),
            }
            for token, number in tokenizer.special.items()
        ],
        "normalizer": None,
        "pre_tokenizer": bytes_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {BOS: {"id": BOS, "ids": [tokenizer.special[BOS]], "tokens": [BOS]}},
        },
        "decoder": bytes_level | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": dict(tokenizer.vocab),
            "merges": [list(pair) for pair in tokenizer.merges],
        },
    }


def settings(context: int) -> dict[str, object]:
    """tokenizer_config.json; `context` in tokens."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "add_bos_token": True,
        "add_eos_token": False,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
