"""The reference the known answers come from: right by an independent computation, and able to tell wrong engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dsdeploy.lab import answers, model, reference, rounding, tokenizer
from dsdeploy.lab.reference import Cache, Model
from dsdeploy.lab.routing import Routing
from dsdeploy.lab.safetensors import Floats

gguf = pytest.importorskip("gguf")
WORDS = tokenizer.make()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights")
    model.write(out, 1)
    return out


@pytest.fixture(scope="module")
def exact(folder: Path) -> Model:
    return reference.load(folder)


class Naive(Model):
    """Attention as the paper writes it: keys and values unpacked for every head, half-split RoPE as in
    Hugging Face's code, one query at a time, in float64."""

    def _attention(self, layer: int, hidden: Floats, cache: Cache) -> Floats:
        assert cache.length == 0
        own = f"model.layers.{layer}.self_attn."
        weight = {name: self._tensors[own + name + ".weight"].astype(float) for name in _MATRICES}
        query = self._norm(hidden @ weight["q_a_proj"].T, own + "q_a_layernorm.weight") @ weight["q_b_proj"].T
        joint = hidden @ weight["kv_a_proj_with_mqa"].T
        unpacked = self._norm(joint[:, :512], own + "kv_a_layernorm.weight") @ weight["kv_b_proj"].T
        out = np.zeros((len(hidden), 2 * 128))
        for head in range(2):
            q = query[:, head * 192 : (head + 1) * 192]
            k = unpacked[:, head * 256 : head * 256 + 128]
            v = unpacked[:, head * 256 + 128 : (head + 1) * 256]
            for at in range(len(hidden)):
                scores = [
                    q[at, :128] @ k[past] + half_split(q[at, 128:], at) @ half_split(joint[past, 512:], past)
                    for past in range(at + 1)
                ]
                weights = np.exp(np.array(scores) / np.sqrt(192))
                out[at, head * 128 : (head + 1) * 128] = weights / weights.sum() @ v[: at + 1]
        return (out @ weight["o_proj"].T).astype(np.float32)


_MATRICES = ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")


def half_split(values: Floats, position: int) -> Floats:
    first, second = values[0::2], values[1::2]
    angle = position * 10000.0 ** (-np.arange(32) / 32)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.concatenate([first * cosine - second * sine, second * cosine + first * sine])


def test_latent_attention_is_the_papers_attention(exact: Model) -> None:
    tokens = WORDS.encode("The router can switch to a new release when the quorum is ready")
    naive = Naive(exact.config, exact._tensors).logits(tokens, Cache())
    assert np.abs(exact.logits(tokens, Cache()) - naive).max() < 1e-4


def test_token_by_token_is_all_at_once(exact: Model) -> None:
    tokens = WORDS.encode("Drain the old release before")
    cache = Cache()
    for token in tokens:
        stepped = exact.logits([token], cache)
    assert np.abs(stepped - exact.logits(tokens, Cache())).max() < 1e-4


def test_routing_stays_within_the_best_groups() -> None:
    """Experts 0 and 2 score best, but the pair (4, 5) and the pair (2, 3) are the best groups."""
    logits = np.log(np.array([[0.9, 0.1, 0.8, 0.7, 0.6, 0.6, 0.1, 0.1]], np.float32))
    scores = 1 / (1 + np.exp(-logits))
    chosen, weights = Routing(8, 2, groups=4, groups_chosen=2, scale=2.5).choose(logits, np.zeros(8, np.float32))
    assert chosen.tolist() == [[2, 3]]
    assert weights.sum() == pytest.approx(2.5)
    assert weights[0, 0] / weights[0, 1] == pytest.approx(scores[0, 2] / scores[0, 3])


def test_the_correction_chooses_but_does_not_weigh() -> None:
    logits = np.zeros((1, 8), np.float32)
    correction = np.array([0, 0, 0, 0, 0.5, 0, 0, 0.4], np.float32)
    chosen, weights = Routing(8, 2, groups=1, groups_chosen=1, scale=1.0).choose(logits, correction)
    assert sorted(chosen[0]) == [4, 7]
    assert weights[0].tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("name", ["q8_0", "q4_0"])
def test_rounding_is_ggufs(name: str) -> None:
    values = np.random.default_rng(5).standard_normal((96, 256)).astype(np.float32)
    values[3] = 0
    kind = gguf.GGMLQuantizationType[name.upper()]
    wanted = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)
    assert np.array_equal(rounding.WEIGHTS[name](values), wanted)


def test_margins_of_the_known_answers_are_safe(exact: Model, folder: Path) -> None:
    for entry in json.loads((folder / "known_answers.json").read_text()):
        for name in entry["precisions"]:
            found = answers.continuation(exact.at(name), WORDS.encode(entry["prompt"]), entry["max_tokens"])
            assert WORDS.decode(found.tokens) == entry["answer"]
            assert min(found.margins) >= answers.MARGIN


def wrong(exact: Model, **changes: object) -> Model:
    return Model({**exact.config, **changes}, exact._tensors)


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": 10.0},
        {"routed_scaling_factor": 1.0},
        {"rms_norm_eps": 1.0},
        {"num_experts_per_tok": 1},
        {"n_group": 1, "topk_group": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_engine_that_computes_otherwise_answers_otherwise(exact: Model, changes: dict[str, object]) -> None:
    broken = wrong(exact, **changes)
    prompts = [WORDS.encode(prompt) for prompt in answers.PROMPTS]
    assert any(
        answers.continuation(exact, prompt, 8).tokens != answers.continuation(broken, prompt, 8).tokens
        for prompt in prompts
    )
