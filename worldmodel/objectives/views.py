"""Two views of the same moment, for objectives that make their latents agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.objectives.augment import AugmentConfig, augment
from worldmodel.objectives.draws import Draws

Positives = Literal["augment", "time", "both"]


@dataclass(frozen=True)
class ViewsConfig:
    """What two views have in common.

    Attributes:
        positives: "augment" changes every frame in two ways; "time" takes two near frames of each clip as they
            are; "both" takes two near frames and changes each.
        near: most frames between the two, where time tells them apart.
    """

    positives: Positives = "augment"
    near: int = 1
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if self.near < 1:
            raise WorldModelError(f"near is {self.near}; expected at least 1 frame.")

    @property
    def least_frames(self) -> int:
        """The shortest clip that has two such views, frames."""
        return 1 if self.positives == "augment" else self.near + 1


def two_views(frames: Tensor, config: ViewsConfig, draws: Draws, *, cameras: int) -> Tensor:
    """Return `[2, N, H, W, 3]` uint8 of `frames [B, L, H, W, 3]`; row n of both is one moment.

    N is B * L where views are augmented frames: other moments of the clip are then negatives to objectives that have
    any, which keeps in the latents what moves. N is B where views are near frames.
    """
    if config.positives == "augment":
        first = second = frames.flatten(0, 1)
    else:
        first, second = near_frames(frames, config.near, draws)
    if config.positives != "time":
        first, second = (augment(view, config.augment, draws, cameras=cameras) for view in (first, second))
    return torch.stack([first, second])


def near_frames(frames: Tensor, near: int, draws: Draws) -> tuple[Tensor, Tensor]:
    """Return two frames of each clip `[B, L, H, W, 3]`, 1 to `near` apart, either of them first.

    Source: Sermanet et al., Time-contrastive networks, 2018, section III-B. Differs: negatives are other clips, not far
    frames of the same.
    """
    b, length = frames.shape[:2]
    clip = torch.arange(b, device=frames.device)
    apart = draws.integers(1, near + 1, b)
    early = (draws.uniform(b) * (length - apart)).long()
    late = early + apart
    swap = draws.uniform(b) < 0.5
    return frames[clip, early.where(swap, late)], frames[clip, late.where(swap, early)]
