"""BYOL: forecast what a slowly following copy says of the other view; nothing is a negative."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.heads import Head, HeadConfig
from worldmodel.objectives.objective import ClipTensors, Objective
from worldmodel.objectives.teacher import TeacherConfig, follow
from worldmodel.objectives.views import ViewsConfig, two_views


@dataclass(frozen=True)
class BYOLConfig:
    """A student and its teacher.

    Attributes:
        projector: of both.
        predictor_width: hidden units of the student's predictor, which goes from its projection to the teacher's.
    """

    views: ViewsConfig = field(default_factory=ViewsConfig)
    projector: HeadConfig = field(default_factory=HeadConfig)
    predictor_width: int = 256
    teacher: TeacherConfig = field(default_factory=TeacherConfig)

    def __post_init__(self) -> None:
        if self.predictor_width < 1:
            raise WorldModelError(f"predictor_width is {self.predictor_width}; expected at least 1.")


@dataclass(frozen=True)
class BYOLLogs:
    """What is logged of a step; each a scalar.

    Attributes:
        agreement: cosine between the student's forecast and the teacher's projection, mean.
        projection_std: standard deviation of the teacher's unit projections, by what it is on the whole sphere:
            near 1 when they spread, 0 when they collapse.
        latent_std: standard deviation of the latents over the batch, mean over dimensions.
    """

    agreement: Tensor
    projection_std: Tensor
    latent_std: Tensor


class BYOL(Objective):
    """From one view, forecast the teacher's projection of the other.

    Shapes: N moments, S projection.

    Source: Grill et al., Bootstrap your own latent, 2020. Differs: a momentum for short runs (there 0.996), and
    mild augmentations.
    """

    def __init__(self, config: BYOLConfig, *, model: WorldModel) -> None:
        super().__init__()
        self.config = config
        self.least_frames = config.views.least_frames
        size = config.projector.size
        self.projector = Head(config.projector, features=model.config.latent)
        self.predictor = Head(HeadConfig(width=config.predictor_width, size=size), features=size)
        self.teacher_encoder = deepcopy(model.encoder).requires_grad_(False)
        self.teacher_projector = deepcopy(self.projector).requires_grad_(False)

    def forward(self, model: WorldModel, clips: ClipTensors, draws: Draws) -> tuple[Tensor, BYOLLogs]:
        self.check_length(clips)
        views = two_views(clips.frames, self.config.views, draws, cameras=len(model.interface.cameras))
        latents = [model.encode(view) for view in views]
        forecasts = [self.predictor(self.projector(z)) for z in latents]
        with torch.no_grad():
            targets = [self.teacher_projector(self.teacher_encoder(view)) for view in views]
        agreement = (cosine(forecasts[0], targets[1]) + cosine(forecasts[1], targets[0])) / 2
        spread = F.normalize(targets[0], dim=1).std(0).mean() * math.sqrt(self.config.projector.size)
        return 2 - 2 * agreement, BYOLLogs(agreement.detach(), spread, torch.cat(latents).detach().std(0).mean())

    @torch.no_grad()
    def after_step(self, model: WorldModel, progress: float) -> None:
        follow(self.teacher_encoder, model.encoder, self.config.teacher, progress)
        follow(self.teacher_projector, self.projector, self.config.teacher, progress)


def cosine(forecasts: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cosine between the rows of two `[N, S]`, a scalar."""
    return torch.cosine_similarity(forecasts, targets, dim=1).mean()
