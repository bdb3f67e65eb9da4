"""The action probe: whether imagined transitions look as if the same actions had caused them as real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.evaluation.probes.mlp import MLPProbeConfig, fit_mlps
from worldmodel.evaluation.probes.probe import Probe, Rows

VALIDATION = 0.2  # share of the training episodes that the probe's training is stopped by


@dataclass(frozen=True)
class Transitions:
    """N steps from one frame to the next, of which the frames before are known.

    Attributes:
        before: `[N, 2 D]`, the latents of the two frames before the step: place and velocity.
        real, predicted: `[N, D]`, the latent of the frame after it, encoded and forecast.
        actions: `[N, U]`, the flat action block between, in [-1, 1].
        episode: `[N]` int64, the episode that each is of, rising.
    """

    before: Tensor
    real: Tensor
    predicted: Tensor
    actions: Tensor
    episode: NDArray[np.int64]


@dataclass(frozen=True)
class ActionTransfer:
    """How well an inverse model tells actions, as R²: 1 perfect, 0 as good as the mean action, below 0 misled.

    Attributes:
        real_real: trained on real transitions, asked about real ones: whether latents hold what actions do.
        real_predicted: trained on real, asked about predicted ones: whether forecasts do what the actions told.
        predicted_real: trained on predicted, asked about real ones.
        predicted_predicted: trained and asked on predicted ones: whether forecasts depend on the actions at all.
    """

    real_real: float
    real_predicted: float
    predicted_real: float
    predicted_predicted: float


def action_transfer(
    config: MLPProbeConfig, training: Transitions, held_out: Transitions, generator: torch.Generator
) -> ActionTransfer:
    """Train inverse models on real and on predicted transitions, and ask each about held-out ones of both kinds.

    Source: Chen, ATM: action-consistency transfer matrix, 2026 (arXiv 2606.09028). Differs: the probe is a small
    perceptron that sees the frame before, too, since a difference of two frames does not show a force; the four
    entries are reported as they are, not collapsed into one score.
    """
    rows = _rows(training.episode)
    inverse = {}
    for kind in ("real", "predicted"):
        features = torch.cat([training.before, getattr(training, kind)], dim=1)
        (inverse[kind],) = fit_mlps(config, features, training.actions, [rows], generator)
    return ActionTransfer(
        *(
            _agreement(inverse[learned], held_out.before, getattr(held_out, asked), held_out.actions)
            for learned in ("real", "predicted")
            for asked in ("real", "predicted")
        )
    )


def _rows(episode: NDArray[np.int64]) -> Rows:
    """Use the last of the episodes to stop by, whole; of a single one, its end."""
    numbers, order = np.unique(episode), torch.arange(len(episode))
    if len(numbers) > 1:
        cut = int(np.searchsorted(episode, numbers[-max(1, round(len(numbers) * VALIDATION))]))
    else:
        cut = max(1, len(episode) - max(1, round(len(episode) * VALIDATION)))
    return Rows(order[:cut], order[cut:])


def _agreement(inverse: Probe, before: Tensor, after: Tensor, actions: Tensor) -> float:
    told = inverse(torch.cat([before, after], dim=1))
    unexplained = (told - actions).square().sum()
    return 1 - float(unexplained / (actions - actions.mean(0)).square().sum().clamp(min=1e-30))
