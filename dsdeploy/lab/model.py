"""The lab's model: a checkpoint of DeepSeek-V3's architecture, small enough to be made on the spot.

    model.write(Path("weights/deepseek-tiny/v1"), seed=1)

writes what a published model consists of: three BF16 safetensors shards, their index, config, tokenizer
with chat template, generation config, known answers, MD5SUMS and a manifest with sizes and SHA-256. The
weights are random, so it speaks gibberish, but always the same: a seed gives the same bytes everywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

# Before numpy is loaded: matrices this small take several times longer on threads that wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from dsdeploy.lab import answers, parameters, reference, safetensors, tokenizer
from dsdeploy.lab.architecture import Architecture
from dsdeploy.lab.safetensors import Floats

SHARDS = 3
VOCABULARY = 640  # a round number above the tokens there are, as in the real model
INDEX = "model.safetensors.index.json"
MD5SUMS = "MD5SUMS"
MANIFEST = "manifest.json"


def write(out: Path, seed: int) -> None:
    """Write the checkpoint of `seed` into `out`, made if absent. About half a second and 4 MB.

    MD5SUMS and the manifest list the files written here, not what else may lie in `out`.
    """
    out.mkdir(parents=True, exist_ok=True)
    words = tokenizer.make()
    shape = Architecture(vocab_size=VOCABULARY)
    begin, end, pad = (words.special[token] for token in (tokenizer.BOS, tokenizer.EOS, tokenizer.PAD))
    documents = {
        "config.json": shape.config(begin, end, pad),
        "generation_config.json": {
            "bos_token_id": begin,
            "eos_token_id": end,
            "do_sample": True,
            "temperature": 0.6,
            "top_p": 0.95,
        },
        "tokenizer.json": tokenizer.document(words),
        "tokenizer_config.json": tokenizer.settings(shape.max_position_embeddings),
    }
    names = [_document(out / name, content) for name, content in documents.items()]
    names += _shards(out, parameters.make(shape, seed, words.words()))
    known = answers.known(reference.load(out), words)
    names.append(_document(out / "known_answers.json", known))
    _sums(out, sorted(names))


def _document(path: Path, content: object) -> str:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path.name


def _shards(out: Path, tensors: Mapping[str, Floats]) -> list[str]:
    """Deal the tensors out in order, write the shards and the index; gives the names written."""
    kept = frozenset(name for name in tensors if name.endswith(parameters.CORRECTION))
    remaining = iter(tensors.items())
    each = -(-len(tensors) // SHARDS)
    where: dict[str, str] = {}
    total = 0
    for number in range(1, SHARDS + 1):
        name = f"model-{number:05d}-of-{SHARDS:06d}.safetensors"  # DeepSeek's own odd pair of widths
        part = dict(islice(remaining, each))
        total += safetensors.write(out / name, part, kept)
        where |= dict.fromkeys(part, name)
    _document(out / INDEX, {"metadata": {"total_size": total}, "weight_map": where})
    return [INDEX, *sorted(set(where.values()))]


def _sums(out: Path, names: Sequence[str]) -> None:
    """MD5SUMS as `md5sum -c` reads it, and the manifest of the same files."""
    files = []
    for name in names:
        data = (out / name).read_bytes()
        md5, sha256 = hashlib.md5(data, usedforsecurity=False).hexdigest(), hashlib.sha256(data).hexdigest()
        files.append({"path": name, "size": len(data), "md5": md5, "sha256": sha256})
    lines = [f"{file['md5']}  {file['path']}\n" for file in files]
    (out / MD5SUMS).write_text("".join(lines), encoding="ascii")
    _document(out / MANIFEST, {"files": files})
