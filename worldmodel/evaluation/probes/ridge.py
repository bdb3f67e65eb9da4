"""A linear probe in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.evaluation.probes.probe import Probe, Rows, Scale

STRENGTHS = tuple(10.0**power for power in range(-6, 3))  # of the penalty, against features of variance 1


@dataclass(frozen=True)
class RidgeProbe:
    """Standardise, multiply, and go back to the target's units."""

    features: Scale
    targets: Scale
    weight: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        read: Tensor = self.targets.back(self.features.to(features) @ self.weight)
        return read


def fit_ridge(features: Tensor, targets: Tensor, rows: Rows) -> Probe:
    """Fit a linear probe by ridge regression.

    The penalty is chosen for each target by the error on the validation rows; then all rows are fitted to with it.

    Args:
        features: `[N, D]` float32.
        targets: `[N, S]` float32.

    Source: Hoerl and Kennard, Ridge regression, 1970: W = (XᵀX / N + λI)⁻¹ XᵀY / N on standardised columns.
    """
    seen, unseen = rows.training, rows.validation
    solve = _Solver(features[seen], targets[seen])
    candidates = torch.stack([solve(solve.same(strength)) for strength in STRENGTHS])
    predicted = solve.features.to(features[unseen]) @ candidates
    error = (predicted - solve.targets.to(targets[unseen])).square().mean(1)
    strengths = torch.tensor(STRENGTHS, device=features.device)[error.argmin(0)]
    both = torch.cat([seen, unseen])
    final = _Solver(features[both], targets[both])
    return RidgeProbe(final.features, final.targets, final(strengths))


class _Solver:
    """Solves for any penalty from one decomposition."""

    def __init__(self, features: Tensor, targets: Tensor) -> None:
        self.features, self.targets = Scale.of(features), Scale.of(targets)
        x, y = self.features.to(features).double(), self.targets.to(targets).double()
        self._values, self._axes = torch.linalg.eigh(x.T @ x / len(x))
        self._aligned = self._axes.T @ (x.T @ y) / len(x)

    def same(self, strength: float) -> Tensor:
        """Return `strength` for every target, `[S]`."""
        return torch.full((self._aligned.shape[1],), strength, device=self._aligned.device)

    def __call__(self, strengths: Tensor) -> Tensor:
        """Return the weights `[D, S]` under penalties `[S]`."""
        shrunk = self._aligned / (self._values.clamp(min=0)[:, None] + strengths.double())
        weight: Tensor = (self._axes @ shrunk).float()
        return weight
