"""Known answers: prompts whose greedy continuation every right engine gives, at the precisions named.

Computed with the reference, never with the engine that is to be judged. A continuation is only as robust as
its narrowest choice: the margin, the difference between the best and the second-best logit, at its smallest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

import numpy as np

from dsdeploy.lab.reference import Cache, Model
from dsdeploy.lab.tokenizer import Tokenizer

KEPT = 3
SHORTEST, LONGEST = 5, 8  # tokens of an answer
# Logits. llama.cpp was measured to differ from the reference by 0.002 at f32 and f16, and by 0.05 where it rounds
# activations as well as weights (0.1 in one case of ten).
MARGIN = 0.4
GROUPS = (("f32", "f16", "q8_0"), ("q4_0",))  # precisions that share their answers
PROMPTS = (
    "The quorum is ready and",
    "Wait for the leader to",
    "A shard of the model",
    "When the engine is warm we",
    "Hello world",
    "Drain the old release before",
    "Each node in the rack will",
    "The router can switch to",
    "Store the key in",
    "It is time to serve",
    "Follow the signal from",
    "No request may",
    "The light is green when",
    "Two hosts have the same",
    "Keep the cache hot and",
    "After the drain we count",
    "A small model can answer",
    "Every site will have a",
    "The plan is to move",
    "Read the version of",
    "One batch is out and",
    "Lock the store before",
    "They work over the stream",
    "Make room for a new",
)


@dataclass(frozen=True)
class Continuation:
    """A greedy answer as token ids, and the margin of each choice in logits."""

    tokens: tuple[int, ...]
    margins: tuple[float, ...]


def continuation(model: Model, prompt: Sequence[int], count: int, margin: float = 0.0) -> Continuation:
    """At most `count` tokens after `prompt` (ids, begin token included) at temperature 0.

    Ends before the first choice whose margin is below `margin`.
    """
    cache = Cache()
    pending = list(prompt)
    tokens: list[int] = []
    margins: list[float] = []
    while len(tokens) < count:
        logits = model.logits(pending, cache)
        second, best = np.partition(logits, -2)[-2:]
        if best - second < margin:
            break
        margins.append(float(best - second))
        pending = [int(logits.argmax())]
        tokens += pending
    return Continuation(tuple(tokens), tuple(margins))


def known(exact: Model, tokenizer: Tokenizer) -> list[dict[str, object]]:
    """The entries of known_answers.json: prompt, max_tokens, answer, and the precisions it holds for.

    Up to `KEPT` for each group of precisions. Fewer, or none, where the margins are too narrow to rely on.
    """
    entries: list[dict[str, object]] = []
    for group in GROUPS:
        models = [exact.at(name) for name in group]
        answers = ((prompt, _shared(models, tokenizer.encode(prompt))) for prompt in PROMPTS)
        sure = ((prompt, tokens) for prompt, tokens in answers if len(tokens) >= SHORTEST)
        for prompt, tokens in islice(sure, KEPT):
            answer = {"answer": tokenizer.decode(tokens), "precisions": list(group)}
            entries.append({"prompt": prompt, "max_tokens": len(tokens), **answer})
    return entries


def _shared(models: Sequence[Model], prompt: Sequence[int]) -> tuple[int, ...]:
    """The tokens that all `models` begin with, as far as all margins are safe."""
    shared = continuation(models[0], prompt, LONGEST, MARGIN).tokens
    for model in models[1:]:
        if len(shared) < SHORTEST:
            break
        shared = _common(shared, continuation(model, prompt, len(shared), MARGIN).tokens)
    return shared


def _common(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    return tuple(one for one, _ in same)
