"""MoCo: find the other view of a frame among a queue of keys from earlier batches."""

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
from worldmodel.objectives.joint import joint
from worldmodel.objectives.objective import ClipTensors, Objective
from worldmodel.objectives.teacher import TeacherConfig, follow
from worldmodel.objectives.views import ViewsConfig, two_views


@dataclass(frozen=True)
class MoCoConfig:
    """A contrast with the past.

    Attributes:
        temperature: of the softmax over cosines.
        queue: keys that are remembered.
    """

    temperature: float = 0.2
    queue: int = 4096
    views: ViewsConfig = field(default_factory=ViewsConfig)
    projector: HeadConfig = field(default_factory=lambda: HeadConfig(norm=False))
    teacher: TeacherConfig = field(default_factory=lambda: TeacherConfig(last_momentum=0.99))

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise WorldModelError(f"temperature is {self.temperature}; expected more than 0.")
        if self.queue < 1:
            raise WorldModelError(f"queue is {self.queue}; expected at least 1 key.")


@dataclass(frozen=True)
class MoCoLogs:
    """What is logged of a step; each a scalar.

    Attributes:
        contrast: cross entropy of the right key among it and the queue, nats.
        accuracy: share of queries that are nearest to the right key.
        latent_std: standard deviation of the latents over the batch, mean over dimensions.
    """

    contrast: Tensor
    accuracy: Tensor
    latent_std: Tensor


class MoCo(Objective):
    """One view of a moment shall be nearer to the other's key than to the keys of earlier batches.

    Keys come from a slowly following copy of encoder and projector. Those of all processes enter the queue
    once the step is taken, so a loss depends on its draws alone.

    Shapes: N moments, S projection, Q keys in the queue.

    Source: He et al., Momentum contrast, 2020; version 2, Chen et al., Improved baselines, 2020. Differs: a queue
    and a momentum for short runs (there 65,536 and 0.999), and no shuffling, since nothing here has a batch norm.
    """

    queue: Tensor
    oldest: Tensor
    replays = False  # each step hands over keys of its own

    def __init__(self, config: MoCoConfig, *, model: WorldModel) -> None:
        super().__init__()
        self.config = config
        self.least_frames = config.views.least_frames
        self.projector = Head(config.projector, features=model.config.latent)
        self.key_encoder = deepcopy(model.encoder).requires_grad_(False)
        self.key_projector = deepcopy(self.projector).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(config.queue, config.projector.size), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))
        self._waiting: list[Tensor] = []

    def forward(self, model: WorldModel, clips: ClipTensors, draws: Draws) -> tuple[Tensor, MoCoLogs]:
        self.check_length(clips)
        one, other = two_views(clips.frames, self.config.views, draws, cameras=len(model.interface.cameras))
        latents = model.encode(one)
        queries = F.normalize(self.projector(latents), dim=1)
        with torch.no_grad():
            keys = F.normalize(self.key_projector(self.key_encoder(other)), dim=1)
        if torch.is_grad_enabled():
            self._waiting.append(keys)
        loss, accuracy = info_nce(queries, keys, self.queue, self.config.temperature)
        return loss, MoCoLogs(loss.detach(), accuracy, latents.detach().std(0).mean())

    @torch.no_grad()
    def after_step(self, model: WorldModel, progress: float) -> None:
        follow(self.key_encoder, model.encoder, self.config.teacher, progress)
        follow(self.key_projector, self.projector, self.config.teacher, progress)
        for keys in self._waiting:
            self._enqueue(joint(keys))
        self._waiting.clear()

    def _enqueue(self, keys: Tensor) -> None:
        """Let `keys [N, S]` take the places of the oldest."""
        keys = keys[-len(self.queue) :]
        places = (self.oldest + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[places] = keys
        self.oldest.add_(len(keys)).remainder_(len(self.queue))


def info_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the cross entropy of each query's key among it and the queue, and the accuracy; scalars.

    Args:
        queries, keys: `[N, S]` unit vectors.
        queue: `[Q, S]` unit vectors, the negatives.

    Source: van den Oord et al., Contrastive predictive coding, 2018, equation 4.
    """
    with torch.autocast(queries.device.type, enabled=False):  # a temperature makes rounding errors large
        logits = torch.cat([(queries * keys).sum(1, keepdim=True), queries @ queue.T], dim=1) / temperature
    right = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    accuracy = (logits.detach().argmax(1) == 0).float().mean()
    return F.cross_entropy(logits, right), accuracy
