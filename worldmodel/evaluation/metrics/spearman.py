"""Spearman's rank correlation, and what it says of distances in latents."""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(values: Tensor) -> Tensor:
    """Return the ranks `[..., N]`, from 0, of values `[..., N]`; equal ones share their mean rank."""
    below = (values[..., None, :] < values[..., :, None]).sum(-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(-1)
    return below.double() + (equal.double() - 1) / 2


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Return the rank correlation `[...]` of `first` and `second`, both `[..., N]`: -1 to 1; 0 where one is constant.

    Source: Spearman, The proof and measurement of association between two things, 1904; ties by mean ranks.
    """
    a, b = ranks(first), ranks(second)
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    scale = (a.square().sum(-1) * b.square().sum(-1)).sqrt()
    return torch.where(scale > 0, (a * b).sum(-1) / scale.clamp(min=1e-30), torch.zeros_like(scale))


def distance_correlation(latents: Tensor) -> float:
    """Return how well the distance to a clip's last latent tells how many frames are left, in [-1, 1].

    The rank correlation within each clip of `latents [E, L, D]`, mean over the clips. Higher is better: a planner that
    follows falling distance then comes nearer in time, too. Even a perfect latent stays below 1 where the world turns
    back or round.

    Source: the order that value-like distances must keep (Ma et al., VIP, 2023). Differs: rank correlation
    against recorded time instead of a learned value.
    """
    last = latents.shape[1] - 1
    distance = (latents[:, :last] - latents[:, last:]).norm(dim=-1)
    left = torch.arange(last, 0, -1, device=latents.device, dtype=distance.dtype).expand_as(distance)
    return float(spearman(distance, left).mean())
