"""How long it takes from one latent to another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.errors import WorldModelError


@dataclass(frozen=True)
class TemporalDistanceConfig:
    """A perceptron with two hidden layers.

    Attributes:
        width: of the hidden layers.
    """

    width: int = 256

    def __post_init__(self) -> None:
        if self.width < 1:
            raise WorldModelError(f"width of the temporal distance is {self.width}; expected at least 1.")


class TemporalDistance(nn.Module):
    """Tell the frames between two latents of an episode, from the first to the second.

    Trained on what was recorded, it says how long the recording's policy took, which is no shorter than it could be.

    Shapes: D latent.

    Source: Hartikainen et al., Dynamical distance learning, 2019.
    """

    def __init__(self, config: TemporalDistanceConfig, *, latent: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(3 * latent, config.width), nn.GELU("tanh")),
            *(nn.Linear(config.width, config.width), nn.GELU("tanh")),
            nn.Linear(config.width, 1),
        )

    def forward(self, now: Tensor, goal: Tensor) -> Tensor:
        """Map latents `[..., D]` and goals `[..., D]` to frames `[...]`, 0 or more."""
        raw: Tensor = self.layers(torch.cat([now, goal, (goal - now).abs()], -1))
        return F.softplus(raw.squeeze(-1))
