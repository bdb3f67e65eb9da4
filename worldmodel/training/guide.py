"""Learn to guide plans: what to try, how far it is, what it earns, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from worldmodel.datasets.reader import Recording
from worldmodel.models.disagreement import Disagreement
from worldmodel.models.proposal import Proposer
from worldmodel.models.reward import rewards_vary
from worldmodel.models.temporal_distance import TemporalDistance
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.training.device import Compute
from worldmodel.training.encode import encode_shared
from worldmodel.training.processes import Processes
from worldmodel.training.stage import ComputeLoss, Stage, StageConfig, Step

TO_ALL = 0.1  # share of the error that all alternatives have a part in: none is left behind for good


class GuideStage(Stage):
    """Proposals, distances in time, rewards and disagreement are learned on a frozen encoder's latents.

    Goals are later frames of the same episode: for proposals within the proposer's horizon, for distances anywhere
    within `config.length` frames. Without actions there are no proposals; rewards are learned where they vary.

    Shapes: B pairs, H blocks, D latent, U size of a flat action block, R recorded frames.

    Args:
        recording, episodes: to learn from.
    """

    NO_BEFORE = 0.1  # share of the pairs that are told no frame before, as at the beginning of an episode
    OTHERS = 4  # one pair in so many teaches distances and disagreement: more steps for proposals, which need them
    name = "guide"

    def __init__(
        self,
        config: StageConfig,
        *,
        recording: Recording,
        episodes: NDArray[np.int64],
        compute: Compute,
        processes: Processes,
    ) -> None:
        super().__init__(config)
        self._recording, self._episodes = recording, episodes
        self._compute, self._processes = compute, processes
        self._passed, self._left = _places(recording.whole_frames[episodes])
        self._rewards = torch.from_numpy(recording.rewards_in(episodes))
        self._rewarded = rewards_vary(self._rewards[self._left > 0])

    @property
    def trains(self) -> frozenset[str]:
        parts = frozenset({"proposer", "distance", "disagreement"})
        return parts | {"reward"} if self._rewarded else parts

    @property
    def frames(self) -> int:
        return 4 * self.config.batch  # the one before, the one now, a near goal and a far one

    def losses(self, model: WorldModel, first: int) -> Iterator[Sequence[ComputeLoss]]:
        config, device = self.config, self._compute.device
        horizon, farthest = model.config.proposer.horizon, config.length - 1
        encoded = encode_shared(model, self._recording, self._episodes, self._compute, self._processes)
        latents = encoded.latents
        blocks = F.pad(model.flatten_actions(encoded.blocks), (0, 0, 0, horizon))  # of the last row, too, H follow
        passed, left, rewards = (x.to(device) for x in (self._passed, self._left, self._rewards))
        starts = left.nonzero()[:, 0]
        model.disagreement.fit(latents[starts + 1] - latents[starts])
        model.reward.fit(rewards[starts])
        ahead = torch.arange(horizon, device=device)
        rows_each = config.batch // self._processes.count // config.accumulate

        def compute_loss(draws: Draws) -> Step:
            now = starts[draws.integers(0, len(starts), rows_each)]
            near, far, first = draws.uniform(rows_each, 3).unbind(1)
            near, far = (
                1 + (share * left[now].clamp(max=most)).long() for share, most in ((near, horizon), (far, farthest))
            )
            before = now - ((first >= self.NO_BEFORE) & (passed[now] > 0)).long()
            led = blocks[now[:, None] + ahead]
            proposal = proposal_error(model.proposer, latents[before], latents[now], latents[now + near], led, near)
            losses = {"proposal": proposal}
            if self._rewarded:
                told = model.reward(latents[before], latents[now], latents[now + 1], blocks[now]).float()
                losses["reward"] = F.mse_loss(told, model.reward.standardise(rewards[now]))
            before, now, far = (rows[:: self.OTHERS] for rows in (before, now, far))
            losses["distance"] = distance_error(model.distance, latents[now], latents[now + far], far)
            step = latents[before], latents[now], latents[now + 1]
            losses["ensemble"] = ensemble_error(model.disagreement, *step, blocks[now])
            return Step(torch.stack(list(losses.values())).sum(), {name: x.detach() for name, x in losses.items()})

        while True:
            yield [compute_loss] * config.accumulate


def proposal_error(
    proposer: Proposer, before: Tensor, now: Tensor, goal: Tensor, blocks: Tensor, ahead: Tensor
) -> Tensor:
    """Return the mean squared error of what is proposed, mostly of each pair's best alternative. 0 without actions.

    Blocks beyond the goal have no error.

    Args:
        before, now, goal: latents `[B, D]`.
        blocks: `[B, H, U]`, those that were done from now on, in [-1, 1].
        ahead: `[B]` int, frames from now to the goal, 1 to H.
    """
    proposed = proposer(before, now, goal, ahead).float()
    beyond = torch.arange(proposed.shape[2], device=proposed.device) >= ahead[:, None]
    squares: Tensor = (proposed - blocks[:, None]).square().masked_fill(beyond[:, None, :, None], 0)
    if not squares.numel():  # of a video, whose actions nobody knows: 0, with a gradient for every parameter
        return squares.sum()
    errors = squares.mean((2, 3))
    return (1 - TO_ALL) * errors.amin(1).mean() + TO_ALL * errors.mean()


def distance_error(distance: TemporalDistance, now: Tensor, goal: Tensor, ahead: Tensor) -> Tensor:
    """Return the error of the logarithm of the distance, of each pair `[B, D]` and of each frame to itself."""
    told = torch.stack([distance(now, goal), distance(now, now)]).float()
    right = torch.stack([ahead, torch.zeros_like(ahead)]).to(told.dtype)
    return F.smooth_l1_loss(told.log1p(), right.log1p())


def ensemble_error(ensemble: Disagreement, before: Tensor, now: Tensor, after: Tensor, block: Tensor) -> Tensor:
    """Return the mean squared error of each head's step, from `now` to `after`, as a share of the steps' variance.

    Args:
        before, now, after: latents `[B, D]`.
        block: `[B, U]`, what was done from now to after, in [-1, 1].
    """
    told = ensemble(before, now, block).float()
    smallest = torch.finfo(ensemble.scale.dtype).tiny  # where nothing ever moves
    return F.mse_loss(told, ((after - now) / ensemble.scale.clamp_min(smallest)).expand_as(told))


def _places(counts: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return the frames before each row and after it, `[R]`, where episodes of `counts` rows follow each other."""
    passed = [np.arange(count) for count in counts]
    left = [np.arange(count)[::-1] for count in counts]
    return torch.from_numpy(np.concatenate(passed)), torch.from_numpy(np.concatenate(left))
