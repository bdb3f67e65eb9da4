"""Rotation: tell by how many quarter turns a frame was turned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.heads import Head, HeadConfig
from worldmodel.objectives.objective import ClipTensors, Objective

TURNS = 4


@dataclass(frozen=True)
class RotationConfig:
    """A pretext.

    Attributes:
        width, hidden: of the classifier: its hidden layers, and how many there are.
    """

    width: int = 256
    hidden: int = 1

    def __post_init__(self) -> None:
        self.classifier()

    def classifier(self) -> HeadConfig:
        """Return the head that tells the turns."""
        return HeadConfig(width=self.width, size=TURNS, hidden=self.hidden)


@dataclass(frozen=True)
class RotationLogs:
    """What is logged of a step; each a scalar.

    Attributes:
        entropy: cross entropy of the right turn, nats; chance gives 1.39.
        accuracy: share of frames whose turn was told; chance gives 0.25.
        latent_std: standard deviation of the latents over the batch, mean over dimensions.
    """

    entropy: Tensor
    accuracy: Tensor
    latent_std: Tensor


class Rotation(Objective):
    """Each frame is turned by 0, 90, 180 or 270 degrees, and the latent must tell by which.

    With a camera that never moves, the background gives the turn away and little is learned of what moves. It is
    here to compare with.

    Source: Gidaris et al., Unsupervised representation learning by predicting image rotations, 2018. Differs: one
    turn for each frame in a step, not all four.
    """

    least_frames = 1

    def __init__(self, config: RotationConfig, *, model: WorldModel) -> None:
        super().__init__()
        height, width = model.interface.height, model.interface.width
        if height != width:
            raise WorldModelError(
                f"Frames of {height} x {width} pixels cannot be turned by 90 degrees: the objective 'rotation' needs "
                "square ones. Record square frames, or choose another objective."
            )
        self.config = config
        self.classifier = Head(config.classifier(), features=model.config.latent)

    def forward(self, model: WorldModel, clips: ClipTensors, draws: Draws) -> tuple[Tensor, RotationLogs]:
        self.check_length(clips)
        frames = clips.frames.flatten(0, 1)
        turns = draws.integers(0, TURNS, len(frames))
        latents = model.encode(turned(frames, turns))
        answers = self.classifier(latents)
        loss = F.cross_entropy(answers, turns)
        accuracy = (answers.detach().argmax(1) == turns).float().mean()
        return loss, RotationLogs(loss.detach(), accuracy, latents.detach().std(0).mean())


def turned(frames: Tensor, turns: Tensor) -> Tensor:
    """Turn square `frames [N, H, H, 3]` by `turns [N]` quarters, counter-clockwise."""
    every = torch.stack([torch.rot90(frames, turn, (1, 2)) for turn in range(TURNS)])
    return every[turns, torch.arange(len(frames), device=frames.device)]
