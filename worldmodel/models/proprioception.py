"""From what a robot feels of its own joints to what is added to the tokens of the frames that it sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worldmodel.errors import WorldModelError

STILL = 1e-6  # standard deviation of what never moves, in its own unit


class ProprioceptionEmbedding(nn.Module):
    """Embed what is felt at visible frames; where nobody knows it, a learned token takes its place.

    Numbers come in physical units and are normalised within, by what `fit` has seen, which is kept with the weights.

    Shapes: B clips, C frames, P numbers that are felt.

    Args:
        size: P.
        width: size of a token.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(size, width)
        self.unknown = nn.Parameter(torch.randn(width) * 0.02)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    @torch.no_grad()
    def fit(self, felt: Tensor) -> None:
        """Normalise from now on by mean and standard deviation of `felt [N, P]`; what never moves is only centred."""
        std = felt.std(0)
        self.mean.copy_(felt.mean(0))
        self.std.copy_(torch.where(std > STILL, std, torch.ones_like(std)))

    def forward(self, felt: Tensor | None, feels: Tensor | None = None) -> Tensor:
        """Return what to add to the tokens, `[B, C, width]`, or `[width]` where nothing is known.

        Args:
            felt: `[B, C, P]` float32; None where nobody knows it.
            feels: `[B]` bool; of a clip where it is false nothing is known. All true when left out.

        Raises:
            WorldModelError: not P numbers.
        """
        if felt is None:
            return self.unknown
        if felt.shape[-1] != len(self.mean):
            raise WorldModelError(
                f"{felt.shape[-1]} numbers were felt at each frame; this model was trained with {len(self.mean)}. Read "
                "them with Recording.with_proprioception or proprioception_of."
            )
        embedded: Tensor = self.embed((felt - self.mean) / self.std)
        if feels is None:
            return embedded
        return torch.where(feels[:, None, None], embedded, self.unknown.to(embedded.dtype))
