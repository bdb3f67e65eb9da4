"""Straightness: whether the latents of a video go straight on."""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.objectives.joint import joint_mean

STILL = 1e-6  # steps shorter than this share of the mean step have no direction


def straightness(latents: Tensor) -> Tensor:
    """Return the mean cosine between one step of `latents [B, L, D]` and the next, L >= 3.

    1: straight lines; 0: each step at right angles to the last, or no steps at all; -1: back and forth. Higher is
    better for planners that interpolate or follow gradients. Steps to an equal frame have no direction, and are left
    out: their gradient would drown all others.

    Source: Hénaff et al., Perceptual straightening of natural videos, 2019: the curvature is the mean of the angles.
    Differs: the mean of their cosines, as in Wang et al., Temporal straightening for latent planning, 2026.
    """
    steps = latents.diff(dim=1)
    length = steps.detach().norm(dim=-1)
    moves = length > STILL * length.mean()
    turns = moves[:, :-1] & moves[:, 1:]
    before, after = (torch.where(turns[..., None], part, 1.0) for part in (steps[:, :-1], steps[:, 1:]))
    cosines: Tensor = torch.cosine_similarity(before, after, dim=-1) * turns
    return cosines.sum() / joint_mean(turns.sum()).clamp_min(1)
