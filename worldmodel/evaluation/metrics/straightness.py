"""Straightness: whether the latents of a video go straight on."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

STILL = 1e-6  # steps shorter than this share of the mean step have no direction


def straightness(latents: Tensor) -> float:
    """Return the mean cosine between one step and the next in clips `[E, L, D]`, L >= 3.

    1: straight lines; 0: each step at right angles to the last, or no steps at all; -1: back and forth. Higher is
    better for planners that interpolate or follow gradients.

    Source: Hénaff et al., Perceptual straightening of natural videos, 2019: the curvature is the mean of the angles.
    Differs: the mean of their cosines, as in Wang et al., Temporal straightening for latent planning, 2026.
    """
    steps = latents.float().diff(dim=1)
    length = steps.norm(dim=-1)
    moving = (length[:, :-1] > STILL * length.mean()) & (length[:, 1:] > STILL * length.mean())
    if not moving.any():
        return 0.0
    return float(F.cosine_similarity(steps[:, :-1], steps[:, 1:], dim=-1)[moving].mean())
