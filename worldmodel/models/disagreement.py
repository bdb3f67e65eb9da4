"""How unlike each other the forecasts of several small networks are: where nothing was learned, they differ."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldmodel.errors import WorldModelError


@dataclass(frozen=True)
class DisagreementConfig:
    """Perceptrons with one hidden layer.

    Attributes:
        heads: how many, at least 2.
        width: of each one's hidden layer.
    """

    heads: int = 5
    width: int = 64

    def __post_init__(self) -> None:
        for name, least in (("heads", 2), ("width", 1)):
            if getattr(self, name) < least:
                raise WorldModelError(
                    f"{name} of the disagreement is {getattr(self, name)}; expected at least {least}."
                )


class Disagreement(nn.Module):
    """An ensemble that tells the step to the next latent. Its heads differ only in their first weights.

    Shapes: E heads, D latent, U size of a flat action block, N recorded steps.

    Args:
        latent: D.
        action: U.

    Attributes:
        scale: standard deviation of the latents' steps in the recording, root mean square over dimensions; 0 says that
            nothing was learned.

    Source: Sekar et al., Planning to explore via self-supervised world models, 2020. Differs: the heads read two
    latents in a row, for velocity, and variance is told in units of that of the latents' steps.
    """

    scale: Tensor

    def __init__(self, config: DisagreementConfig, *, latent: int, action: int) -> None:
        super().__init__()
        self.config = config
        self.widen = nn.Linear(2 * latent + action, config.heads * config.width)  # of all heads, side by side
        bound = config.width**-0.5
        self.narrow = nn.Parameter(torch.empty(config.heads, config.width, latent).uniform_(-bound, bound))
        self.register_buffer("scale", torch.zeros(()))

    @property
    def known(self) -> bool:
        """Whether anything was learned."""
        return bool(self.scale > 0)

    def forward(self, before: Tensor, now: Tensor, block: Tensor) -> Tensor:
        """Tell the steps to the next latents, as multiples of `scale`.

        Args:
            before, now: latents `[..., D]` of the frame before and of this one.
            block: `[..., U]`, what is done now, in [-1, 1].

        Returns:
            `[E, ..., D]`.
        """
        hidden = nn.functional.gelu(self.widen(torch.cat([now, now - before, block], -1)), approximate="tanh")
        each = hidden.view(-1, self.config.heads, self.config.width).transpose(0, 1)
        return torch.bmm(each, self.narrow).view(self.config.heads, *now.shape)

    def variance(self, before: Tensor, now: Tensor, block: Tensor) -> Tensor:
        """Return the variance over heads, mean over dimensions, `[...]`, as a share of the variance of all steps."""
        told: Tensor = self(before, now, block)
        return told.float().var(0).mean(-1)

    @torch.no_grad()
    def fit(self, steps: Tensor) -> None:
        """Take the scale of recorded steps `[N, D]`."""
        self.scale.copy_(steps.var(0, correction=0).mean().sqrt())
