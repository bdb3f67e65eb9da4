"""RankMe: in how many directions the latents spread."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-7


def rankme(latents: Tensor) -> float:
    """Return the effective rank of latents `[N, D]`: between 1 (all on a line) and D (alike in all directions).

    Higher is better among runs of one method; white latents have D whatever they know.

    Source: Garrido et al., RankMe, 2023, equation 1: exp of the entropy of the singular values' shares.
    Differs: the mean is taken off first, so that an offset is no direction.
    """
    return smooth_rank(torch.linalg.svdvals(latents.float() - latents.float().mean(0)))


def smooth_rank(values: Tensor) -> float:
    """Return exp of the entropy of the shares that `values [D]`, none negative, have in their sum."""
    share = values / values.sum().clamp_min(1e-12) + EPSILON
    return float(torch.exp(-(share * share.log()).sum()))
