"""Alignment and uniformity: whether like is near like, and all else apart, on the unit sphere."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from worldmodel.evenly import evenly

MOST = 4000  # latents that are compared with each other: their pairs are its square


def alignment(first: Tensor, second: Tensor, center: Tensor) -> float:
    """Return the mean squared distance between the directions of latents that belong together, in [0, 4].

    Lower is better, as long as uniformity does not suffer.

    Args:
        first, second: `[N, D]`, one pair in each row: here, frames that follow each other.
        center: `[D]`, from which directions are taken.

    Source: Wang and Isola, Understanding contrastive representation learning through alignment and uniformity, 2020,
    section 4.1 with α = 2. Differs: latents here do not live on a sphere, so their mean is its centre.
    """
    apart = F.normalize(first - center, dim=-1) - F.normalize(second - center, dim=-1)
    return float(apart.square().sum(-1).mean())


def uniformity(latents: Tensor, center: Tensor) -> float:
    """Return log E exp(-2 |x - y|²) over pairs of directions of latents `[N, D]`; lower is better, 0 is collapse.

    Of many latents, 4,000 are taken evenly.

    Source: as `alignment`, with t = 2, and it differs alike.
    """
    chosen = evenly(len(latents), MOST)
    directions = F.normalize((latents - center)[chosen].float(), dim=-1)
    squared = F.pdist(directions).square()
    return float(squared.mul(-2).exp().mean().log())
