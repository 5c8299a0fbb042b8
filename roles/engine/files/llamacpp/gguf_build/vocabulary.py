"""tokenizer.json to GGUF: tokens, their kinds, merges, special ids, and how text is cut before merging."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import TokenType

from gguf_build.checkpoint import document
from gguf_build.errors import BuildError

_TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Vocabulary:
    """`tokens`, `types` by id, one a row of the model; `cut` is llama.cpp's name of the pre-tokenizer."""

    tokens: list[str]
    types: list[TokenType]
    merges: list[str]
    cut: str
    begin: int | None
    end: int | None
    pad: int | None
    add_begin: bool
    chat_template: str | None


def read(folder: Path, config: Mapping[str, Any], cut: str | None = None) -> Vocabulary:
    """The vocabulary of a byte-level BPE checkpoint. `cut` overrides the pre-tokenizer found.

    BuildError for another kind of tokenizer: text cut differently is other tokens, and the answers are wrong
    without a sign of it.
    """
    found, settings = document(folder / _TOKENIZER), document(folder / "tokenizer_config.json")
    model = found.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE" or not isinstance(model.get("vocab"), dict):
        raise BuildError("the tokenizer is no byte-level BPE", str(folder / _TOKENIZER))
    added = {token["content"]: token for token in found.get("added_tokens") or []}
    tokens, types = _tokens(model["vocab"], added, int(config["vocab_size"]))
    return Vocabulary(
        tokens=tokens,
        types=types,
        merges=[pair if isinstance(pair, str) else " ".join(pair) for pair in model.get("merges") or []],
        cut=cut or _cut(found.get("pre_tokenizer"), folder),
        begin=_special(config, settings, "bos", added),
        end=_special(config, settings, "eos", added),
        pad=_special(config, settings, "pad", added),
        add_begin=bool(settings.get("add_bos_token", True)),
        chat_template=_template(folder, settings),
    )


def _tokens(vocab: dict[str, int], added: Mapping[str, Any], size: int) -> tuple[list[str], list[TokenType]]:
    """Ids without a token get a placeholder: checkpoints pad the vocabulary to a round number of rows."""
    tokens, types = [f"[PAD{number}]" for number in range(size)], [TokenType.UNUSED] * size
    ids = {**vocab, **{token: entry["id"] for token, entry in added.items()}}
    for token, number in ids.items():
        if not 0 <= number < size:
            what = f"token {token!r} has id {number}, the model only {size} rows"
            raise BuildError(what, _TOKENIZER)
        tokens[number], types[number] = token, TokenType.NORMAL
    for entry in added.values():
        types[entry["id"]] = TokenType.CONTROL if entry.get("special") else TokenType.USER_DEFINED
    return tokens, types


def _cut(given: Any, folder: Path) -> str:
    """llama.cpp knows pre-tokenizers by name only; these are the ones DeepSeek's models and GPT-2 use."""
    steps = (given or {}).get("pretokenizers") or [given or {}]
    patterns = [step["pattern"].get("Regex", "") for step in steps if step.get("type") == "Split"]
    last = steps[-1]
    if last.get("type") == "ByteLevel" and not last.get("add_prefix_space"):
        if not patterns and last.get("use_regex", True):
            return "gpt-2"
        if patterns[:1] == [r"\p{N}{1,3}"]:
            return "deepseek-v3"
        if patterns[:2] == [r"[\r\n]", r"\s?\p{L}+"]:
            return "deepseek-llm"
    hint = 'name it in the build\'s flags: {"tokenizer_pre": "<llama.cpp\'s name>"}'
    what = "the tokenizer cuts text in a way this build does not know"
    raise BuildError(what, str(folder / _TOKENIZER), hint)


def _special(
    config: Mapping[str, Any], settings: Mapping[str, Any], which: str, added: Mapping[str, Any]
) -> int | None:
    """The id of bos, eos or pad: config.json's, of several the first, else by the token's name."""
    number = config.get(f"{which}_token_id")
    if isinstance(number, list):
        number = number[0] if number else None
    if number is None:
        token = settings.get(f"{which}_token")
        name = token.get("content") if isinstance(token, dict) else token
        number = added.get(str(name), {}).get("id")
    return None if number is None else int(number)


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The chat template: of several the one named default; newer checkpoints keep it in a file of its own."""
    given = settings.get("chat_template")
    if isinstance(given, list):
        given = {entry["name"]: entry["template"] for entry in given}.get("default")
    beside = folder / "chat_template.jinja"
    if given is None and beside.exists():
        return beside.read_text(encoding="utf-8")
    return given
