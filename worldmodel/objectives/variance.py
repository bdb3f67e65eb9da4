"""VICReg's two terms against collapse: variance held up, covariance held down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.objectives.joint import joint


@dataclass(frozen=True)
class VarianceConfig:
    """The two terms' weights, as in VICReg.

    Attributes:
        variance: of dimensions that vary less than 1.
        covariance: between dimensions.
    """

    variance: float = 25.0
    covariance: float = 1.0

    def __post_init__(self) -> None:
        for name in ("variance", "covariance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected 0 or more.")


def variance_covariance(latents: Tensor, config: VarianceConfig) -> Tensor:
    """Return the weighted sum of both terms for `latents [N, D]`, a scalar.

    The variance term is the mean over dimensions of relu(1 - sqrt(variance + 1e-4)), the covariance term the
    sum of squares off the covariance's diagonal, by D.

    Source: Bardes et al., VICReg, 2022, equations 1 to 4.
    """
    latents = joint(latents.float())
    variance = torch.relu(1 - (latents.var(0) + 1e-4).sqrt()).mean()
    with torch.autocast(latents.device.type, enabled=False):  # small covariances drown in rounding errors
        centred = latents - latents.mean(0)
        covariance = centred.T @ centred / (len(latents) - 1)  # torch.cov makes the processor wait for a GPU
    off = covariance.square().sum() - covariance.diagonal().square().sum()
    return config.variance * variance + config.covariance * off / latents.shape[1]
