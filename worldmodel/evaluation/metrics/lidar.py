"""LiDAR: in how many directions moments can be told apart beyond what the next frame changes anyway."""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.evaluation.metrics.rankme import smooth_rank

DELTA = 1e-4  # added to the scatter within groups, as a share of its mean variance


def lidar(groups: Tensor) -> float:
    """Return the rank of linear discriminant analysis between groups of latents `[G, Q, D]`; between 1 and D.

    Each group holds Q latents that stand for one thing: here, frames that follow each other. Higher is better: a
    direction counts by how much groups differ along it against how much the members of a group do, so noise
    raises it less than it raises RankMe.

    Source: Thilak et al., LiDAR, 2024, section 4. Differs: groups are neighbouring frames instead of
    augmented views of an image; delta is relative to the scatter within, so that the latents' unit does not matter.
    """
    groups = groups.double()
    means = groups.mean(1)
    between = torch.cov(means.T).reshape(means.shape[1], -1)
    apart = (groups - means[:, None]).flatten(0, 1)
    within = apart.T @ apart / (groups.shape[0] * (groups.shape[1] - 1))
    variance, axes = torch.linalg.eigh(within)
    scale = (variance.clamp(min=0) + DELTA * variance.mean()).rsqrt()
    whiten = axes * scale
    return smooth_rank(torch.linalg.eigvalsh(whiten.T @ between @ whiten).clamp(min=0))
