"""How well held-out episodes are forecast, against not forecasting at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.clips import ClipBatch, Clips
from worldmodel.evaluation.metrics.rankme import rankme
from worldmodel.evenly import evenly
from worldmodel.models.reward import rewards_vary
from worldmodel.models.world_model import WorldModel
from worldmodel.training.device import Compute

CLIPS = 128


@dataclass(frozen=True)
class Validated:
    """What was found on the held-out clips.

    Attributes:
        error: squared error by frames ahead, as a share of the latents' variance; 1 is as bad as forecasting the
            mean.
        copy_last: the same when the last visible latent is taken for the forecast.
        proposal: mean squared error of the best of the plans proposed for the farthest goal that is still within the
            proposer's horizon, in [-1, 1]; None without actions. `mean_action` is that of the mean action.
        reward: R² of the blocks' rewards; None where nobody has learned them, or these do not vary.
        ensemble: squared error of the step that the ensemble's heads tell on average, as a share of the recorded steps'
            variance. `disagreement` is the heads' own variance, likewise. None where they have not learned.
        rank: effective rank of the latents, see `rankme`.
        spread: standard deviation of the latents over frames, as a share of their root mean square.
        spectrum: singular values of the centred latents, the largest first, as shares of their sum, `[D]` float32.
    """

    error: dict[int, float]
    copy_last: dict[int, float]
    proposal: float | None
    mean_action: float | None
    reward: float | None
    ensemble: float | None
    disagreement: float | None
    rank: float
    spread: float
    spectrum: NDArray[np.float32]

    def scalars(self) -> dict[str, float]:
        """Return scalars by tag."""
        guides = {
            "valid/proposal": self.proposal,
            "valid/mean_action": self.mean_action,
            "valid/reward": self.reward,
            "valid/ensemble": self.ensemble,
            "valid/disagreement": self.disagreement,
        }
        return {
            **{f"valid/error_{ahead}": value for ahead, value in self.error.items()},
            **{f"valid/copy_last_{ahead}": value for ahead, value in self.copy_last.items()},
            **{tag: value for tag, value in guides.items() if value is not None},
            "latent/rank": self.rank,
            "latent/spread": self.spread,
        }


class Validation:
    """A fixed set of clips from held-out episodes.

    Args:
        clips: of held-out episodes; some are chosen evenly.
        visible: C, frames that are visible at the beginning of each.
    """

    def __init__(self, clips: Clips, visible: int) -> None:
        chosen = evenly(len(clips), CLIPS)
        self.batch: ClipBatch = clips.take(chosen)
        self._rewards = torch.from_numpy(clips.rewards(chosen))
        self.visible = visible

    @torch.no_grad()
    def measure(self, model: WorldModel, compute: Compute) -> Validated:
        """Forecast the clips one frame ahead and to their end, and tell the way there."""
        model.eval()
        latents, forecast = self._forecast(model, compute)
        proposal, mean_action = self._proposal_errors(model, latents)
        reward = self._reward_share(model, latents)
        ensemble, disagreement = self._ensemble_errors(model, latents)
        model.train()
        frames = latents.flatten(0, 1)
        variance = frames.var(0).mean().clamp_min(1e-12)
        last = latents[:, self.visible - 1]
        error, copy_last = {}, {}
        for ahead in (1, latents.shape[1] - self.visible):
            target = latents[:, self.visible - 1 + ahead]
            error[ahead] = ((forecast[:, self.visible - 1 + ahead] - target).square().mean() / variance).item()
            copy_last[ahead] = ((last - target).square().mean() / variance).item()
        singular = torch.linalg.svdvals(frames - frames.mean(0))
        spectrum = (singular / singular.sum().clamp_min(1e-12)).cpu().numpy()
        return Validated(
            error,
            copy_last,
            proposal,
            mean_action,
            reward,
            ensemble,
            disagreement,
            rankme(frames),
            relative_spread(frames),
            spectrum,
        )

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

    @torch.no_grad()
    def embedded(self, model: WorldModel, compute: Compute) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the latents of all frames, `[N, D]`, and the frames, `[N, H, W, 3]`."""
        model.eval()
        latents, _ = self._forecast(model, compute)
        model.train()
        return latents.flatten(0, 1).cpu().numpy(), self.batch.frames.reshape(-1, *self.batch.frames.shape[2:])

    def _proposal_errors(self, model: WorldModel, latents: Tensor) -> tuple[float | None, float | None]:
        """Return the errors of the best that is proposed from the last visible frames, and of the mean action."""
        now = self.visible - 1
        known = min(model.config.proposer.horizon, latents.shape[1] - self.visible)
        blocks = self._blocks(model, latents)[:, now : now + known]
        if not blocks.numel():
            return None, None
        ahead = torch.full((len(latents),), known, device=latents.device)
        proposed = model.proposer(latents[:, max(0, now - 1)], latents[:, now], latents[:, now + known], ahead)
        mean = blocks.mean((0, 1))
        errors = (proposed[:, :, :known] - blocks[:, None]).square().mean((2, 3))
        return errors.amin(1).mean().item(), (mean - blocks).square().mean().item()

    def _reward_share(self, model: WorldModel, latents: Tensor) -> float | None:
        """Return the share of the rewards' variance that is told right."""
        if not model.reward.known or not rewards_vary(self._rewards.flatten()):
            return None
        right = model.reward.standardise(self._rewards.to(latents.device))
        told = model.reward(_before(latents), latents[:, :-1], latents[:, 1:], self._blocks(model, latents))
        return 1 - float((told - right).square().mean() / right.var(correction=0))

    def _ensemble_errors(self, model: WorldModel, latents: Tensor) -> tuple[float | None, float | None]:
        """Return the error of the ensemble's mean, and the variance over its heads."""
        if not model.disagreement.known:
            return None, None
        told = model.disagreement(_before(latents), latents[:, :-1], self._blocks(model, latents))
        steps = latents.diff(dim=1) / model.disagreement.scale
        return (told.mean(0) - steps).square().mean().item(), told.var(0).mean().item()

    def _blocks(self, model: WorldModel, latents: Tensor) -> Tensor:
        """Return the clips' flat action blocks, `[N, L - 1, U]`."""
        return model.flatten_actions(torch.from_numpy(self.batch.actions).to(latents.device))

    def _forecast(self, model: WorldModel, compute: Compute) -> tuple[Tensor, Tensor]:
        batch = self.batch
        frames, actions, felt = (
            torch.from_numpy(x).to(compute.device) for x in (batch.frames, batch.actions, batch.felt)
        )
        visible = (torch.arange(frames.shape[1], device=compute.device) < self.visible).expand(len(frames), -1)
        with compute.autocast():
            latents = model.encode(frames)
            return latents, model.predictor(latents, visible, model.flatten_actions(actions), felt=felt).float()


def _before(latents: Tensor) -> Tensor:
    """Return the latents before those of each block of clips `[N, L, D]`, `[N, L - 1, D]`; the first is its own."""
    return torch.cat([latents[:, :1], latents[:, :-2]], 1)


def relative_spread(latents: Tensor) -> float:
    """Return the standard deviation of latents `[N, D]` as a share of their root mean square: 0 where all are one."""
    return float((latents.var(0).mean() / latents.square().mean().clamp_min(1e-12)).sqrt())
