"""The lab's checkpoint: complete, consistent, the same every time, and different for another seed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from dsdeploy.lab import answers, model, parameters, safetensors, tokenizer

SHARDS = [f"model-{number:05d}-of-000003.safetensors" for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("weights")
    for seed in (1, 2):
        model.write(root / f"v{seed}", seed)
    return root / "v1", root / "v2"


def known(folder: Path) -> list[dict[str, object]]:
    return json.loads((folder / "known_answers.json").read_text())


def test_a_published_model_is_complete(folders: tuple[Path, Path]) -> None:
    names = {path.name for path in folders[0].iterdir()}
    documents = "config.json generation_config.json tokenizer.json tokenizer_config.json known_answers.json"
    assert names == {*SHARDS, *documents.split(), "model.safetensors.index.json", "MD5SUMS", "manifest.json"}


def test_same_seed_same_bytes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    model.write(tmp_path / "again", 1)
    for path in folders[0].iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_noise_is_the_promised_stream() -> None:
    """Integers only, so these bytes are the same on every machine; a change here changes every published sum."""
    drawn = parameters.Noise(1).draw(4096, spread=1.0)
    assert hashlib.sha256(safetensors.to_bf16(drawn).tobytes()).hexdigest() == (
        "b7da3dc6d1475f745b63ab21b0e96311139ff8d7cabd20e051633fc14ad66e90"
    )
    assert abs(float(drawn.mean())) < 0.05
    assert abs(float(drawn.std()) - 1) < 0.05


def test_sums_and_manifest_list_every_other_file(folders: tuple[Path, Path]) -> None:
    folder = folders[0]
    listed = dict(reversed(line.split("  ")) for line in (folder / "MD5SUMS").read_text().splitlines())
    manifest = {file["path"]: file for file in json.loads((folder / "manifest.json").read_text())["files"]}
    assert set(listed) == set(manifest) == {path.name for path in folder.iterdir()} - {"MD5SUMS", "manifest.json"}
    for name, file in manifest.items():
        data = (folder / name).read_bytes()
        assert file["size"] == len(data)
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert file["md5"] == listed[name] == hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_the_index_names_the_shard_of_every_tensor(folders: tuple[Path, Path]) -> None:
    index = json.loads((folders[0] / "model.safetensors.index.json").read_text())
    found = {name: shard for shard in SHARDS for name in safetensors.read(folders[0] / shard)}
    assert index["weight_map"] == found
    assert len(set(found.values())) == 3


def test_the_architecture_keeps_deepseeks_head_dimensions(folders: tuple[Path, Path]) -> None:
    config = json.loads((folders[0] / "config.json").read_text())
    assert config["architectures"] == ["DeepseekV3ForCausalLM"]
    wanted = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
    assert wanted.items() <= config.items()


def test_versions_answer_differently(folders: tuple[Path, Path]) -> None:
    first, second = ({entry["prompt"]: entry["answer"] for entry in known(folder)} for folder in folders)
    assert set(first.values()).isdisjoint(second.values())


def test_every_precision_has_a_known_answer_in_plain_words(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        entries = known(folder)
        assert {name for entry in entries for name in entry["precisions"]} == {"f32", "f16", "q8_0", "q4_0"}
        for entry in entries:
            words = str(entry["answer"]).split()
            assert len(words) == entry["max_tokens"] >= answers.SHORTEST
            assert set(words) <= set(tokenizer.WORDS)


@pytest.mark.parametrize("text", ["The quorum is ready", "it's 42,  really", "naïve 日本 🙂\n\ttab", ""])
def test_the_tokenizer_gives_back_what_it_took(text: str) -> None:
    words = tokenizer.make()
    ids = words.encode(text)
    assert ids[0] == words.special[tokenizer.BOS]
    assert words.decode(ids[1:]) == text


def test_a_word_is_one_token() -> None:
    words = tokenizer.make()
    assert words.encode(" quorum")[1:] == [words.vocab["Ġquorum"]]
    assert tokenizer.load(json.loads(json.dumps(tokenizer.document(words)))) == words


def test_bf16_rounds_to_nearest_even() -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, -2.5, 0.0], np.float32)
    assert safetensors.from_bf16(safetensors.to_bf16(values)).tolist() == [1.0, 1.0, 1.015625, -2.5, 0.0]
