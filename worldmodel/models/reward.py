"""What an action block earns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldmodel.errors import WorldModelError

LEAST_RANGE = 1e-9  # of rewards, as a share of the largest: below it they differ by rounding alone


@dataclass(frozen=True)
class RewardConfig:
    """A perceptron with two hidden layers.

    Attributes:
        width: of the hidden layers.
    """

    width: int = 128

    def __post_init__(self) -> None:
        if self.width < 1:
            raise WorldModelError(f"width of the reward head is {self.width}; expected at least 1.")


class RewardHead(nn.Module):
    """Tell the reward of an action block, from the latents before and after it and from what was done.

    Rewards may be of any scale: they are told in standard deviations from the mean of those that were learned from.

    Shapes: D latent, U size of a flat action block, R recorded blocks.

    Args:
        latent: D.
        action: U.

    Attributes:
        mean, scale: mean and standard deviation of a block's reward in the recording; a scale of 0 says that no reward
            was learned.

    Source: Hafner et al., Learning latent dynamics for planning from pixels, 2019, whose reward model reads a latent.
    Differs: one image shows no velocity, so it is told the latent before, and what was done.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: RewardConfig, *, latent: int, action: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(2 * latent + action, config.width), nn.GELU("tanh")),
            *(nn.Linear(config.width, config.width), nn.GELU("tanh")),
            nn.Linear(config.width, 1),
        )
        for name in ("mean", "scale"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    @property
    def known(self) -> bool:
        """Whether there was a reward to learn."""
        return bool(self.scale > 0)

    def forward(self, before: Tensor, after: Tensor, block: Tensor) -> Tensor:
        """Map latents `[..., D]` before and after blocks `[..., U]`, in [-1, 1], to standardised rewards `[...]`."""
        told: Tensor = self.layers(torch.cat([before, after - before, block], -1))
        return told.squeeze(-1)

    @torch.no_grad()
    def fit(self, rewards: Tensor) -> None:
        """Take the mean and the scale of recorded rewards `[R]` float64; nothing is known where they do not vary."""
        if rewards_vary(rewards):
            self.mean.copy_(rewards.mean())
            self.scale.copy_(rewards.std(correction=0))

    def standardise(self, rewards: Tensor) -> Tensor:
        """Map rewards `[...]` float64, in the environment's unit, to what `forward` tells of them, float32."""
        return ((rewards - self.mean) / self.scale).float()


def rewards_vary(rewards: Tensor) -> bool:
    """Return whether there is anything to learn from rewards `[R]`."""
    if not len(rewards):
        return False
    return bool(rewards.max() - rewards.min() > LEAST_RANGE * rewards.abs().max())
