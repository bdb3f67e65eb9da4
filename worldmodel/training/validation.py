"""How well held-out episodes are forecast, against not forecasting at all."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.clips import ClipBatch, Clips
from worldmodel.evaluation.metrics.rankme import rankme
from worldmodel.models.world_model import WorldModel
from worldmodel.training.device import Compute

CLIPS = 128


class Validation:
    """A fixed set of clips from held-out episodes.

    Args:
        clips: of held-out episodes; some are chosen evenly.
        visible: C, frames that are visible at the beginning of each.
    """

    def __init__(self, clips: Clips, visible: int) -> None:
        chosen = np.unique(np.linspace(0, len(clips) - 1, CLIPS).round().astype(np.int64))
        self.batch: ClipBatch = clips.take(chosen)
        self.visible = visible

    @torch.no_grad()
    def measure(self, model: WorldModel, compute: Compute) -> dict[str, float]:
        """Return scalars by tag.

        `valid/error_k`: squared error k frames ahead, as a share of the latents' variance; 1 is as bad as
        forecasting the mean. `valid/copy_last_k`: the same when the last visible latent is taken for the forecast.
        `latent/rank`: effective rank of the latents, see `rankme`.
        """
        model.eval()
        latents, forecast = self._forecast(model, compute)
        model.train()
        variance = latents.flatten(0, 1).var(0).mean()
        last = latents[:, self.visible - 1]
        values = {}
        for ahead in (1, latents.shape[1] - self.visible):
            target = latents[:, self.visible - 1 + ahead]
            values[f"valid/error_{ahead}"] = (
                (forecast[:, self.visible - 1 + ahead] - target).square().mean() / variance
            ).item()
            values[f"valid/copy_last_{ahead}"] = ((last - target).square().mean() / variance).item()
        values["latent/rank"] = rankme(latents.flatten(0, 1))
        return values

    @torch.no_grad()
    def strip(self, model: WorldModel, compute: Compute, clip: int = 0) -> NDArray[np.uint8]:
        """Draw one clip, `[2 H, L W, 3]` uint8: real frames above, below them the decoder's.

        The visible frames are drawn from their own latents, the masked ones from the forecast.
        """
        model.eval()
        latents, forecast = self._forecast(model, compute)
        below = torch.cat([latents[clip, : self.visible], forecast[clip, self.visible :]])
        with compute.autocast():
            drawn = model.picture(below).cpu().numpy()
        model.train()
        return np.concatenate([np.concatenate(list(row), axis=1) for row in (self.batch.frames[clip], drawn)])

    def _forecast(self, model: WorldModel, compute: Compute) -> tuple[Tensor, Tensor]:
        frames, actions = (torch.from_numpy(x).to(compute.device) for x in (self.batch.frames, self.batch.actions))
        visible = (torch.arange(frames.shape[1], device=compute.device) < self.visible).expand(len(frames), -1)
        with compute.autocast():
            latents = model.encode(frames)
            return latents, model.predictor(latents, visible, model.flatten_actions(actions)).float()
