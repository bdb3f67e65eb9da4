"""VICReg: make two views agree, while every dimension varies and no two say the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.heads import Head, HeadConfig
from worldmodel.objectives.objective import ClipTensors, Objective
from worldmodel.objectives.variance import VarianceConfig, variance_covariance
from worldmodel.objectives.views import ViewsConfig, two_views


@dataclass(frozen=True)
class VICRegConfig:
    """Three terms.

    Attributes:
        invariance: weight of the mean squared difference between the views' projections.
        variance: weights of the other two, for each of the two views: 12.5 is 25 of their mean, as in the
            authors' code.
    """

    invariance: float = 25.0
    views: ViewsConfig = field(default_factory=ViewsConfig)
    projector: HeadConfig = field(default_factory=lambda: HeadConfig(size=256, hidden=2))
    variance: VarianceConfig = field(default_factory=lambda: VarianceConfig(variance=12.5))

    def __post_init__(self) -> None:
        if not 0 <= self.invariance < math.inf:
            raise WorldModelError(f"invariance is {self.invariance}; expected 0 or more.")


@dataclass(frozen=True)
class VICRegLogs:
    """What is logged of a step; each a scalar.

    Attributes:
        invariance: mean squared difference between the views' projections, before its weight.
        anti_collapse: variance and covariance terms of both views, weighted.
        latent_std: standard deviation of the latents over the batch, mean over dimensions.
    """

    invariance: Tensor
    anti_collapse: Tensor
    latent_std: Tensor


class VICReg(Objective):
    """Variance, invariance and covariance of two views' projections.

    Source: Bardes et al., VICReg, 2022. Differs: a projector of 256 instead of 8,192, and mild augmentations.
    """

    def __init__(self, config: VICRegConfig, *, model: WorldModel) -> None:
        super().__init__()
        self.config = config
        self.least_frames = config.views.least_frames
        self.projector = Head(config.projector, features=model.config.latent)

    def forward(self, model: WorldModel, clips: ClipTensors, draws: Draws) -> tuple[Tensor, VICRegLogs]:
        self.check_length(clips)
        views = two_views(clips.frames, self.config.views, draws, cameras=len(model.interface.cameras))
        latents = [model.encode(view) for view in views]
        one, other = (self.projector(z) for z in latents)
        loss, invariance, anti_collapse = vicreg(one, other, self.config)
        std = torch.cat(latents).detach().std(0).mean()
        return loss, VICRegLogs(invariance.detach(), anti_collapse.detach(), std)

    def against_collapse(self, options: str) -> str:
        return f"raise --{options}.variance.variance"


def vicreg(one: Tensor, other: Tensor, config: VICRegConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss of two views' projections `[N, S]`, its invariance and what is against collapse; scalars."""
    invariance = F.mse_loss(one, other)
    anti_collapse = variance_covariance(one, config.variance) + variance_covariance(other, config.variance)
    return config.invariance * invariance + anti_collapse, invariance, anti_collapse
