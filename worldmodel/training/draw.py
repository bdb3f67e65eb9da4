"""Learn to draw: the decoder, which is for people to look at, learns to picture a frozen encoder's latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from worldmodel.datasets.clips import Clips
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.training.device import Compute
from worldmodel.training.feed import feed
from worldmodel.training.processes import Processes
from worldmodel.training.stage import ComputeLoss, Stage, StageConfig, Step


class DrawStage(Stage):
    """The decoder learns alone to draw the latents of a frozen encoder.

    Args:
        clips: whose frames it learns from.
        seed: decides the batches.
    """

    name = "draw"
    trains = frozenset({"decoder"})

    def __init__(self, config: StageConfig, *, clips: Clips, compute: Compute, processes: Processes, seed: int) -> None:
        super().__init__(config)
        self._clips, self._compute, self._processes, self._seed = clips, compute, processes, seed

    def losses(self, model: WorldModel, first: int) -> Iterator[Sequence[ComputeLoss]]:
        def compute_loss(frames: Tensor, draws: Draws) -> Step:
            with torch.no_grad():
                latents = model.encode(frames)
            target = frames.permute(0, 3, 1, 2) / 127.5 - 1
            loss = F.mse_loss(model.decoder(latents).float(), target)
            return Step(loss, {"decoder": loss.detach()})

        compute, processes = self._compute, self._processes
        for batch in feed(
            self._clips, self.config.batch, seed=self._seed, first=first, compute=compute, processes=processes
        ):
            yield [partial(compute_loss, part.flatten(0, 1)) for part in batch.frames.chunk(self.config.accumulate)]
