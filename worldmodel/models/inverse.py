"""From three latents in a row to the action block between the last two."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldmodel.errors import WorldModelError

MAGNIFY = 3.0  # of differences of latents, which are smaller than latents


@dataclass(frozen=True)
class InverseDynamicsConfig:
    """A perceptron with one hidden layer, beside a linear layer.

    Attributes:
        width: of the hidden layer.
    """

    width: int = 256

    def __post_init__(self) -> None:
        if self.width < 1:
            raise WorldModelError(f"width of the inverse dynamics is {self.width}; expected at least 1.")


class InverseDynamics(nn.Module):
    """Tell which action led from one frame to the next, given the frame before for velocity.

    What an action moves must be in the latents for this to work, however small or slow it looks.

    Shapes: B clips, L frames, D latent, U size of a flat action block.

    Source: Pathak et al., Curiosity-driven exploration by self-supervised prediction, 2017, section 2.2.
    Differs: three frames instead of two, since one difference of positions does not show a force; and it is given
    differences, for which a small thing that moves counts as much as a large one that lies still.
    """

    def __init__(self, config: InverseDynamicsConfig, *, latent: int, action: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * latent, config.width), nn.GELU("tanh"), nn.Linear(config.width, action)
        )
        self.direct = nn.Linear(2 * latent, action)

    def forward(self, latents: Tensor) -> Tensor:
        """Map `[B, L, D]` to the blocks 1 to L - 2, `[B, L - 2, U]`, in [-1, 1]."""
        steps = latents.diff(dim=1)
        moves = torch.cat([steps[:, :-1], steps[:, 1:]], dim=-1)
        actions: Tensor = self.layers(torch.cat([MAGNIFY * moves, latents[:, 1:-1]], dim=-1)) + self.direct(moves)
        return actions
