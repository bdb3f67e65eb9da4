"""SimCLR: find the other view of a frame among all frames of the batch."""

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
from worldmodel.objectives.joint import joint, rank
from worldmodel.objectives.objective import ClipTensors, Objective
from worldmodel.objectives.views import ViewsConfig, two_views


@dataclass(frozen=True)
class SimCLRConfig:
    """A contrast within the batch.

    Attributes:
        temperature: of the softmax over cosines.
    """

    temperature: float = 0.1
    views: ViewsConfig = field(default_factory=ViewsConfig)
    projector: HeadConfig = field(default_factory=HeadConfig)

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise WorldModelError(f"temperature is {self.temperature}; expected more than 0.")


@dataclass(frozen=True)
class SimCLRLogs:
    """What is logged of a step; each a scalar.

    Attributes:
        contrast: cross entropy of the right view among all others, nats.
        accuracy: share of views whose nearest is the right one.
        latent_std: standard deviation of the latents over the batch, mean over dimensions.
    """

    contrast: Tensor
    accuracy: Tensor
    latent_std: Tensor


class SimCLR(Objective):
    """Two views of a moment shall be nearer to each other than to anything else in the batch.

    Shapes: N moments, D latent, S projection.

    Source: Chen et al., A simple framework for contrastive learning, 2020. Differs: mild augmentations, and near
    frames as another kind of positives.
    """

    def __init__(self, config: SimCLRConfig, *, model: WorldModel) -> None:
        super().__init__()
        self.config = config
        self.least_frames = config.views.least_frames
        self.projector = Head(config.projector, features=model.config.latent)

    def forward(self, model: WorldModel, clips: ClipTensors, draws: Draws) -> tuple[Tensor, SimCLRLogs]:
        self.check_length(clips)
        views = two_views(clips.frames, self.config.views, draws, cameras=len(model.interface.cameras))
        latents = model.encode(views.flatten(0, 1))
        projections: Tensor = self.projector(latents).view(2, -1, self.config.projector.size)
        loss, accuracy = nt_xent(projections, self.config.temperature)
        return loss, SimCLRLogs(loss.detach(), accuracy, latents.detach().std(0).mean())


def nt_xent(projections: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the normalised, temperature-scaled cross entropy of `projections [2, N, S]`, and the accuracy; scalars.

    Each of the 2 N rows looks for its other view among those of all processes, itself left out.

    Source: Chen et al., 2020, equation 1.
    """
    own = F.normalize(projections.float(), dim=-1)
    everything = joint(own, dim=1)
    n, total = own.shape[1], everything.shape[1]
    with torch.autocast(own.device.type, enabled=False):  # a temperature makes rounding errors large
        logits = own.flatten(0, 1) @ everything.flatten(0, 1).T / temperature
    row = torch.arange(n, device=own.device) + rank() * n
    itself, other = torch.cat([row, row + total]), torch.cat([row + total, row])
    logits = logits.scatter(1, itself[:, None], -torch.inf)
    accuracy = (logits.detach().argmax(1) == other).float().mean()
    return F.cross_entropy(logits, other), accuracy
