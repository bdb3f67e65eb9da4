"""Learn to see: the encoder, and what the objective trains with it, learn from frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from worldmodel.datasets.clips import Clips
from worldmodel.evaluation.metrics.rankme import rankme
from worldmodel.evenly import evenly
from worldmodel.models.basis import whiten
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.objective import ClipTensors, Objective, logged
from worldmodel.training.device import Compute
from worldmodel.training.feed import feed
from worldmodel.training.health import CollapseWatch
from worldmodel.training.processes import Processes
from worldmodel.training.stage import ComputeLoss, Stage, StageConfig, Step
from worldmodel.training.validation import relative_spread


class SeeStage(Stage):
    """The encoder learns from frames by an objective.

    Args:
        name: "see", or "tune" for one that comes after it.
        objective: what to learn by.
        clips: to learn from.
        seed: decides the batches.
        whiten_floor: where the latents are whitened in the end, see `whiten`; None leaves them as they are.
    """

    WHITEN_CLIPS = 2000  # whose latents tell the covariance
    CHECK_CLIPS = 64  # whose latents tell a collapse

    def __init__(
        self,
        config: StageConfig,
        *,
        name: str,
        objective: Objective,
        clips: Clips,
        compute: Compute,
        processes: Processes,
        seed: int,
        whiten_floor: float | None,
    ) -> None:
        super().__init__(config)
        self.name, self.own, self.replays = name, objective, objective.replays
        self._objective, self._clips = objective, clips
        self._compute, self._processes, self._seed = compute, processes, seed
        self._whiten_floor = whiten_floor
        self._watch = CollapseWatch(name, objective.against_collapse("dynamics" if name == "tune" else "objective"))

    @property
    def trains(self) -> frozenset[str]:
        return frozenset(self._objective.trains)

    def losses(self, model: WorldModel, first: int) -> Iterator[Sequence[ComputeLoss]]:
        def compute_loss(clips: ClipTensors, draws: Draws) -> Step:
            loss, logs = self._objective(model, clips, draws)
            return Step(loss, logged(logs))

        compute, processes = self._compute, self._processes
        for batch in feed(
            self._clips, self.config.batch, seed=self._seed, first=first, compute=compute, processes=processes
        ):
            tensors = (batch.frames, batch.actions, batch.felt)
            parts = zip(*(x.chunk(self.config.accumulate) for x in tensors if x is not None), strict=True)
            yield [partial(compute_loss, ClipTensors(*part)) for part in parts]

    def begin(self, model: WorldModel) -> None:
        self._objective.begin(model)

    def after_step(self, model: WorldModel, progress: float) -> None:
        self._objective.after_step(model, progress)

    def check(self, model: WorldModel, step: int, progress: float) -> None:
        sample = self._sample(model, self.CHECK_CLIPS)
        self._watch.look(rankme(sample), relative_spread(sample), step=step, progress=progress)

    @torch.no_grad()
    def finish(self, model: WorldModel) -> None:
        """Whiten the latents.

        Raises:
            WorldModelError: they have collapsed: whitening would make much of nothing.
        """
        sample = self._sample(model, self.WHITEN_CLIPS)
        self._watch.conclude(rankme(sample), relative_spread(sample))
        if self._whiten_floor is not None:
            whiten(model, sample, self._whiten_floor)

    @torch.no_grad()
    def _sample(self, model: WorldModel, clips: int) -> Tensor:
        """Return the latents of the frames of some clips, evenly chosen, `[N, D]`."""
        chosen = evenly(len(self._clips), clips)
        latents = []
        for part in np.array_split(chosen, -(-len(chosen) // self.config.batch)):
            frames = torch.from_numpy(self._clips.take(part).frames).to(self._compute.device)
            with self._compute.autocast():
                latents.append(model.encode(frames).flatten(0, 1))
        return torch.cat(latents)
