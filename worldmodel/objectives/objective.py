"""What every objective is: a loss on unlabelled clips, and the networks that only it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws

Part = Literal["encoder", "predictor", "inverse"]


@dataclass(frozen=True)
class ClipTensors:
    """B clips of L frames, on the device of the model.

    Attributes:
        frames: `[B, L, H, W, 3]` uint8.
        actions: `[B, L - 1, K, A]` float32, in the actuators' units; block t leads from frame t to frame t + 1.
        felt: `[B, L, P]` float32, what the robot felt at each frame, in physical units; None where nobody knows it.
    """

    frames: Tensor
    actions: Tensor
    felt: Tensor | None = None


class Logs(Protocol):
    """A frozen dataclass of detached scalar tensors, logged as `train/<field>`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def logged(logs: Logs) -> dict[str, Tensor]:
    """Return the values of `logs` by their names."""
    return {entry.name: getattr(logs, entry.name) for entry in fields(logs)}


class Objective(nn.Module, ABC):
    """A way of learning from clips that nobody labelled.

    Its own networks (projection heads, a slowly moving teacher, a queue of keys) are submodules and buffers:
    they are trained and saved with the model, and thrown away when it is used. A subclass is made as
    `Subclass(config, model=model)`.

    Attributes:
        trains: the parts of the world model that the loss reaches.
        least_frames: L, the shortest clip that it can learn from.
        replays: whether steps are alike but for clips and draws; see `Stage`.
    """

    trains: ClassVar[frozenset[Part]] = frozenset({"encoder"})
    least_frames: int = 2
    replays: ClassVar[bool] = True

    @abstractmethod
    def forward(self, model: WorldModel, clips: ClipTensors, draws: Draws) -> tuple[Tensor, Logs]:
        """Return the loss of a batch, a scalar with gradient, and what to log.

        Losses that compare the clips of a batch compare those of all processes (`joint`): the mean of the
        processes' gradients is the gradient of one process with the joint batch.
        """

    def check_length(self, clips: ClipTensors) -> None:
        """Refuse clips of fewer than `least_frames` frames.

        Raises:
            WorldModelError: they are too short.
        """
        length = clips.frames.shape[1]
        if length < self.least_frames:
            raise WorldModelError(
                f"{type(self).__name__} needs clips of at least {self.least_frames} frames; these have {length}. "
                "Use longer clips."
            )

    def against_collapse(self, options: str) -> str | None:
        """Return what to do where the latents collapse, for an error; None where no option of the objective helps.

        Args:
            options: name of the objective's options in the configuration, such as "objective".
        """
        return None

    @torch.no_grad()
    def begin(self, model: WorldModel) -> None:
        """Take the model as it is when training by this objective begins: it may have learned since it was made."""

    @torch.no_grad()
    def after_step(self, model: WorldModel, progress: float) -> None:
        """Follow a step of the optimiser, such as by moving a teacher; `progress` is the share of the stage done."""
