"""The stages of training: learn to see, then to forecast what is seen, then to draw it.

In the first, encoder and predictor learn together from frames. Most of its time goes into convolutions. In
the second the encoder is frozen, all frames are encoded once, and the predictor goes on alone, at several
times as many frames in a second: on the reacher this takes the error of a one-block forecast from 64 to 7 %
of the whitened latents' variance in two minutes, and that precision is what control lives on. In the third
the decoder, which is only for people to look at, learns to draw the frozen encoder's latents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.datasets.clips import ClipBatch, Clips
from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError
from worldmodel.models.whitening import whiten
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.masked_future import MaskedFuture, forecast_error
from worldmodel.objectives.objective import ClipTensors, logged
from worldmodel.training.device import Compute
from worldmodel.training.optimiser import OptimiserConfig


@dataclass(frozen=True)
class StageConfig:
    """How long a stage is, and how it learns.

    Attributes:
        steps: number of steps.
        batch: clips in a step.
        length: L, frames in a clip.
    """

    steps: int
    batch: int
    length: int
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("length", 2)):
            if getattr(self, name) < least:
                raise WorldModelError(f"{name} of a stage is {getattr(self, name)}; expected at least {least}.")


@dataclass(frozen=True)
class Step:
    """What one step gives: the loss to follow, and scalars to log."""

    loss: Tensor
    logs: dict[str, Tensor]


class Stage(ABC):
    """One way of learning from a recording.

    What step n sees depends on the seed and n alone, so a resumed run goes on as if nothing had happened.

    Attributes:
        name: as it appears in checkpoints.
        config: how long it is, and how it learns.
    """

    name: str

    def __init__(self, config: StageConfig) -> None:
        self.config = config

    @abstractmethod
    def modules(self, model: WorldModel) -> dict[str, nn.Module]:
        """Return the networks that learn, by the name they have in the model."""

    def finish(self, model: WorldModel) -> None:  # noqa: B027  most stages end with their last step
        """Do what remains when the last step is taken, before the checkpoint."""

    @abstractmethod
    def losses(self, model: WorldModel, first: int) -> Iterator[Callable[[torch.Generator], Step]]:
        """Yield, for steps `first`, `first + 1`, …, a function that computes the step with a generator."""


class SeeStage(Stage):
    """Encoder and predictor learn together from frames; in the end the latents are whitened.

    Args:
        clips: to learn from.
        seed: decides the batches.
        whiten_floor: see `whiten`.
    """

    name = "see"
    WHITEN_CLIPS = 2000  # whose latents tell the covariance

    def __init__(
        self,
        config: StageConfig,
        objective: MaskedFuture,
        clips: Clips,
        compute: Compute,
        seed: int,
        whiten_floor: float,
    ) -> None:
        super().__init__(config)
        self._objective, self._clips, self._compute, self._seed = objective, clips, compute, seed
        self._whiten_floor = whiten_floor

    def modules(self, model: WorldModel) -> dict[str, nn.Module]:
        return {"encoder": model.encoder, "predictor": model.predictor, "inverse": model.inverse}

    def losses(self, model: WorldModel, first: int) -> Iterator[Callable[[torch.Generator], Step]]:
        def step(batch: ClipBatch, generator: torch.Generator) -> Step:
            frames, actions = (torch.from_numpy(x).to(self._compute.device) for x in (batch.frames, batch.actions))
            loss, logs = self._objective(model, ClipTensors(frames, actions), Draws(generator))
            return Step(loss, logged(logs))

        for batch in self._clips.batches(self.config.batch, seed=self._seed, first=first):
            yield partial(step, batch)

    @torch.no_grad()
    def finish(self, model: WorldModel) -> None:
        chosen = np.unique(np.linspace(0, len(self._clips) - 1, self.WHITEN_CLIPS).round().astype(np.int64))
        latents = []
        for part in np.array_split(chosen, -(-len(chosen) // self.config.batch)):
            frames = torch.from_numpy(self._clips.take(part).frames).to(self._compute.device)
            with self._compute.autocast():
                latents.append(model.encode(frames).flatten(0, 1))
        whiten(model, torch.cat(latents), self._whiten_floor)


class ForecastStage(Stage):
    """The predictor learns alone, on the latents of a frozen encoder.

    Args:
        recording, episodes: to learn from; their frames are encoded once, when the stage begins.
    """

    name = "forecast"

    def __init__(
        self,
        config: StageConfig,
        objective: MaskedFuture,
        recording: Recording,
        episodes: NDArray[np.int64],
        compute: Compute,
    ) -> None:
        super().__init__(config)
        self._objective, self._compute = objective, compute
        self._recording, self._episodes = recording, episodes

    def modules(self, model: WorldModel) -> dict[str, nn.Module]:
        return {"predictor": model.predictor}

    def losses(self, model: WorldModel, first: int) -> Iterator[Callable[[torch.Generator], Step]]:
        config, device = self.config, self._compute.device
        encoded = encode_episodes(model, self._recording, self._episodes, self._compute)
        latents, blocks = torch.cat([e.latents for e in encoded]), torch.cat([e.blocks for e in encoded])
        starts = _clip_starts([len(e.latents) for e in encoded], config.length).to(device)
        offsets = torch.arange(config.length, device=device)

        def step(generator: torch.Generator) -> Step:
            chosen = torch.randint(len(starts), (config.batch, 1), generator=generator, device=device)
            rows = starts[chosen] + offsets
            seen, actions = latents[rows], blocks[rows[:, :-1]]
            loss = forecast_error(model, seen, seen, actions, self._objective.config, Draws(generator))
            return Step(loss, {"forecast": loss.detach()})

        while True:
            yield step


class DrawStage(Stage):
    """The decoder learns alone to draw the latents of a frozen encoder.

    Args:
        clips: whose frames it learns from.
        seed: decides the batches.
    """

    name = "draw"

    def __init__(self, config: StageConfig, clips: Clips, compute: Compute, seed: int) -> None:
        super().__init__(config)
        self._clips, self._compute, self._seed = clips, compute, seed

    def modules(self, model: WorldModel) -> dict[str, nn.Module]:
        return {"decoder": model.decoder}

    def losses(self, model: WorldModel, first: int) -> Iterator[Callable[[torch.Generator], Step]]:
        def step(batch: ClipBatch, generator: torch.Generator) -> Step:
            frames = torch.from_numpy(batch.frames).to(self._compute.device).flatten(0, 1)
            with torch.no_grad():
                latents = model.encode(frames)
            target = frames.permute(0, 3, 1, 2) / 127.5 - 1
            loss = F.mse_loss(model.decoder(latents).float(), target)
            return Step(loss, {"decoder": loss.detach()})

        for batch in self._clips.batches(self.config.batch, seed=self._seed, first=first):
            yield partial(step, batch)


@dataclass(frozen=True)
class EncodedEpisode:
    """One episode as the model sees it.

    Attributes:
        latents: `[F, D]` float32, of the frames that are whole action blocks apart.
        blocks: `[F, K, A]` float32; block t leads from frame t to frame t + 1, the last one is zero.
    """

    latents: Tensor
    blocks: Tensor


@torch.no_grad()
def encode_episodes(
    model: WorldModel, recording: Recording, episodes: NDArray[np.int64], compute: Compute
) -> list[EncodedEpisode]:
    """Encode whole episodes, on the device of `compute`."""
    block = recording.provenance.steps_per_frame
    encoded = []
    for index in episodes:
        episode = recording.episode(int(index))
        count = int(recording.whole_frames[index])
        blocks = np.zeros((count, block, episode.actions.shape[1]), np.float32)
        blocks[:-1] = episode.actions[: (count - 1) * block].reshape(count - 1, block, -1)
        with compute.autocast():
            latents = model.encode(torch.from_numpy(episode.frames[:count]).to(compute.device))
        encoded.append(EncodedEpisode(latents, torch.from_numpy(blocks).to(compute.device)))
    return encoded


def _clip_starts(counts: list[int], length: int) -> Tensor:
    """Return the rows at which a clip of `length` may begin, where episodes of `counts` rows follow each other."""
    first = np.concatenate([[0], np.cumsum(counts)])
    starts = [np.arange(row, row + count - length + 1) for row, count in zip(first, counts, strict=False)]
    return torch.from_numpy(np.concatenate(starts))
