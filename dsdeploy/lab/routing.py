"""Which experts a token goes to: DeepSeek-V3's `noaux_tc`, sigmoid scores limited to the best groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsdeploy.lab.safetensors import Floats


@dataclass(frozen=True)
class Routing:
    """Counts as in config.json; `scale` multiplies the weights after they were normalised to sum 1."""

    experts: int
    chosen: int
    groups: int
    groups_chosen: int
    scale: float

    def choose(self, logits: Floats, correction: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
        """For each row of `logits` (tokens, experts): the chosen experts and their weights.

        The correction bias decides who is chosen; the weights come from the scores without it.
        """
        scores: Floats = np.float32(1) / (1 + np.exp(-logits))
        ranked = self._within_groups(scores + correction)
        best = np.argsort(-ranked, axis=1, kind="stable")[:, : self.chosen]
        weights = np.take_along_axis(scores, best, axis=1)
        return best, weights / (weights.sum(axis=1, keepdims=True) + 1e-20) * self.scale

    def _within_groups(self, ranked: Floats) -> Floats:
        """Experts outside the best groups get minus infinity; a group is as good as its best two together."""
        grouped = ranked.reshape(len(ranked), self.groups, -1)
        worth = np.sort(grouped, axis=2)[:, :, -2:].sum(axis=2)
        kept = np.argsort(-worth, axis=1, kind="stable")[:, : self.groups_chosen]
        allowed = np.zeros(worth.shape, bool)
        np.put_along_axis(allowed, kept, True, axis=1)
        return np.where(allowed[:, :, None], grouped, -np.inf).reshape(ranked.shape)
