"""Learn to forecast: the predictor goes on alone, on the latents of a frozen encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.reader import Recording
from worldmodel.evenly import evenly
from worldmodel.models.basis import weigh_by_certainty
from worldmodel.models.reach import fit_reach
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.masked_future import MaskedFutureConfig, forecast_error
from worldmodel.training.device import Compute
from worldmodel.training.encode import encode_shared
from worldmodel.training.processes import Processes
from worldmodel.training.stage import ComputeLoss, Stage, StageConfig, Step


class ForecastStage(Stage):
    """The predictor learns alone, on the latents of a frozen encoder.

    All frames are encoded once, when the stage begins. Without convolutions a step sees several times as many
    clips: on the reacher this took the error of a one-block forecast from 64 to 7 % of the whitened latents'
    variance in two minutes, and that precision is what control lives on.

    Args:
        masking: what is hidden of a clip.
        recording, episodes: to learn from.
        reach_weight: of errors in what a robot moves itself, in actions (see `fit_reach`), beside those of the latent.
        certainty_floor: in the end, distances are weighed by what is certain, see `weigh_by_certainty`.
    """

    SOME_CLIPS = 4000  # that tell what moves with the actions, and whose forecasts tell what is certain
    name = "forecast"
    trains = frozenset({"predictor"})

    def __init__(
        self,
        config: StageConfig,
        *,
        masking: MaskedFutureConfig,
        recording: Recording,
        episodes: NDArray[np.int64],
        compute: Compute,
        processes: Processes,
        reach_weight: float,
        certainty_floor: float,
    ) -> None:
        super().__init__(config)
        self._reach_weight, self._certainty_floor = reach_weight, certainty_floor
        self._masking, self._compute, self._processes = masking, compute, processes
        self._recording, self._episodes = recording, episodes

    def losses(self, model: WorldModel, first: int) -> Iterator[Sequence[ComputeLoss]]:
        config = self.config
        encoded = encode_shared(model, self._recording, self._episodes, self._compute, self._processes)
        starts = _clip_starts(self._recording.whole_frames[self._episodes], config.length).to(self._compute.device)
        offsets = torch.arange(config.length, device=starts.device)
        self._encoded, self._starts = encoded, starts
        model.reach.copy_(self._fit_reach(model))
        emphasis = self._reach_weight**0.5 * model.reach if self._reach_weight else None
        rows_each = config.batch // self._processes.count // config.accumulate

        def compute_loss(draws: Draws) -> Step:
            rows = starts[draws.integers(0, len(starts), rows_each, 1)] + offsets
            latents, blocks = encoded.latents[rows], encoded.blocks[rows[:, :-1]]
            felt = encoded.felt[rows]
            loss = forecast_error(model, latents, latents, blocks, self._masking, draws, felt=felt, emphasis=emphasis)
            return Step(loss, {"forecast": loss.detach()})

        while True:
            yield [compute_loss] * config.accumulate

    @torch.no_grad()
    def finish(self, model: WorldModel) -> None:
        """Weigh distances by what is certain."""
        encoded, length, visible = self._encoded, self.config.length, model.most_visible
        model.eval()
        errors = []
        for part in torch.split(self._chosen(), self.config.batch):
            rows = part[:, None] + torch.arange(length, device=part.device)
            shown = (torch.arange(length, device=part.device) < visible).expand(len(rows), -1)
            blocks, felt = model.flatten_actions(encoded.blocks[rows[:, :-1]]), encoded.felt[rows]
            with self._compute.autocast():
                forecast = model.predictor(encoded.latents[rows], shown, blocks, felt=felt).float()
            errors.append((forecast - encoded.latents[rows])[:, visible:].flatten(0, 1))
        model.train()
        weigh_by_certainty(model, encoded.latents, torch.cat(errors), self._certainty_floor)

    def _chosen(self) -> Tensor:
        """Return where some clips begin, evenly chosen."""
        return self._starts[torch.from_numpy(evenly(len(self._starts), self.SOME_CLIPS)).to(self._starts.device)]

    def _fit_reach(self, model: WorldModel) -> Tensor:
        rows = self._chosen()[:, None] + torch.arange(self.config.length, device=self._starts.device)
        steps = self._encoded.latents[rows].diff(dim=1).flatten(0, 1)
        return fit_reach(steps, model.scale_actions(self._encoded.blocks[rows[:, :-1]]).mean(-2).flatten(0, 1))


def _clip_starts(counts: NDArray[np.int64], length: int) -> Tensor:
    """Return the rows at which a clip of `length` may begin, where episodes of `counts` rows follow each other."""
    first = np.concatenate([[0], np.cumsum(counts)])
    starts = [np.arange(row, row + count - length + 1) for row, count in zip(first, counts, strict=False)]
    return torch.from_numpy(np.concatenate(starts))
