"""What guides a planner is learned from pairs of frames of one episode, and from what led from one to the other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.models.proposal import Proposer, ProposerConfig
from worldmodel.objectives.draws import Draws
from worldmodel.training import guide
from worldmodel.training.device import Compute
from worldmodel.training.encode import EncodedFrames
from worldmodel.training.guide import GuideStage, distance_error, proposal_error
from worldmodel.training.processes import Processes
from worldmodel.training.stage import StageConfig, Step

COUNTS = np.array([4, 1, 12, 7])  # frames of each episode; nothing follows in the second
EPISODE = np.repeat(np.arange(4), COUNTS)
HORIZON, FARTHEST, PAIRS = 3, 5, 4000


class Told:
    """A network that remembers what it was asked, and answers nothing."""

    config = SimpleNamespace(horizon=HORIZON)

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self.asked: list[tuple[Tensor, ...]] = []

    def __call__(self, *asked: Tensor) -> Tensor:
        self.asked.append(asked)
        return torch.zeros(len(asked[0]), *self.shape)


class ToldReward(Told):
    """A reward head whose standardised rewards are the rewards."""

    def fit(self, rewards: Tensor) -> None:
        self.learned_from = rewards

    def standardise(self, rewards: Tensor) -> Tensor:
        return rewards.float()


class ToldEnsemble(Told):
    """An ensemble of one head."""

    def fit(self, steps: Tensor) -> None:
        self.learned_from, self.scale = steps, torch.tensor(2.0)

    def __call__(self, *asked: Tensor) -> Tensor:
        return super().__call__(*asked)[None]


def step_of(
    rewards: NDArray[np.float64], cpu: Compute, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Step, GuideStage]:
    """Return what the networks were asked in a step, and what it gave; a frame's latent is its number."""
    rows = torch.arange(int(COUNTS.sum())).float()[:, None]
    monkeypatch.setattr(guide, "encode_shared", lambda *_: EncodedFrames(rows, rows[:, None], rows[:, :0]))
    proposer, distance = Told(1, HORIZON, 1), Told()
    model: Any = SimpleNamespace(proposer=proposer, distance=distance, flatten_actions=lambda blocks: blocks[:, 0])
    model.config = SimpleNamespace(proposer=proposer.config)
    model.reward, model.disagreement = ToldReward(), ToldEnsemble(1)
    recording: Any = SimpleNamespace(whole_frames=COUNTS, rewards_in=lambda _: rewards)
    config = StageConfig(steps=1, batch=PAIRS, length=FARTHEST + 1)
    stage = GuideStage(config, recording=recording, episodes=np.arange(4), compute=cpu, processes=Processes())
    (compute_loss,) = next(stage.losses(model, 0))
    first = compute_loss(Draws(torch.Generator().manual_seed(0)))
    assert torch.isfinite(first.loss)
    compute_loss(Draws(torch.Generator().manual_seed(0)))
    assert all(torch.equal(*same) for same in zip(*proposer.asked, strict=True))  # the draws decide
    return model, first, stage


def test_frames_and_goals_are_of_one_episode_and_as_far_apart_as_told(
    cpu: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _, _ = step_of(np.zeros(24), cpu, monkeypatch)
    before, now, goal, ahead = (x.squeeze(-1).long().numpy() for x in model.proposer.asked[0])
    far = model.distance.asked[0][1][:, 0].long().numpy()
    assert np.array_equal(goal - now, ahead)
    some = now[:: GuideStage.OTHERS]
    for start, other, apart in ((now, goal, range(1, HORIZON + 1)), (some, far, range(1, FARTHEST + 1))):
        assert np.array_equal(EPISODE[start], EPISODE[other])
        assert set(other - start) == set(apart)
    assert set(now) == {row for row in range(24) if row not in (3, 4, 16, 23)}  # all that something follows
    begun = np.isin(now, (0, 5, 17))
    assert np.array_equal(before[begun], now[begun])
    assert set(now - before) == {0, 1}
    assert (now == before)[~begun].mean() == pytest.approx(0.1, abs=0.02)


def test_rewards_and_steps_are_those_of_the_block_that_follows(cpu: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    rewards = np.arange(24.0) ** 2
    model, step, stage = step_of(rewards, cpu, monkeypatch)
    before, now, *_ = model.proposer.asked[0]
    assert all(map(torch.equal, model.reward.asked[0], (before, now, now + 1, now)))  # a block's number is its row's
    before, some = (rows[:: GuideStage.OTHERS] for rows in (before, now))
    assert all(map(torch.equal, model.disagreement.asked[0], (before, some, some)))
    assert step.logs["reward"].item() == pytest.approx(now.square().square().mean().item())  # told 0 of row squared
    assert step.logs["ensemble"].item() == pytest.approx(0.25)  # told 0 of a step of 1, on a scale of 2
    assert len(model.reward.learned_from) == len(model.disagreement.learned_from) == 20  # all that something follows
    assert stage.trains == {"proposer", "distance", "disagreement", "reward"}


def test_of_rewards_that_never_change_nothing_is_learned(cpu: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    rewards = np.where(np.isin(np.arange(24), (3, 4, 16, 23)), 0.0, 0.3)  # 0 after an episode's last frame
    model, step, stage = step_of(rewards, cpu, monkeypatch)
    assert not model.reward.asked
    assert step.logs.keys() == {"proposal", "distance", "ensemble"}
    assert "reward" not in stage.trains


def test_only_blocks_that_lead_to_the_goal_count() -> None:
    proposed = torch.tensor([[[1.0], [5.0], [9.0]], [[0.0], [2.0], [9.0]]])[:, None]
    ahead = torch.tensor([1, 2])
    blocks = torch.zeros(2, 3, 1)
    error = proposal_error(lambda *_: proposed, *torch.zeros(3, 2, 4), blocks, ahead)  # type: ignore[arg-type]
    assert error.item() == pytest.approx((1 + 0 + 4) / 6)


def test_the_best_alternative_of_each_pair_counts_most() -> None:
    proposed = torch.tensor([[[1.0], [3.0]], [[6.0], [2.0]]])[..., None].requires_grad_()
    error = proposal_error(
        lambda *_: proposed,
        *torch.zeros(3, 2, 4),
        torch.zeros(2, 1, 1),
        torch.tensor([1, 1]),  # type: ignore[arg-type]
    )
    assert error.item() == pytest.approx(0.9 * (1 + 4) / 2 + 0.1 * (1 + 9 + 36 + 4) / 4)
    (slope,) = torch.autograd.grad(error, proposed)
    assert (slope.flatten() > 0).all()  # none is left behind
    share = slope.flatten() / proposed.detach().flatten()
    assert share.argsort(descending=True)[:2].tolist() in ([0, 3], [3, 0])


def test_both_ways_round_are_learned() -> None:
    """Of a recording that goes left or right by chance, a single answer stays in the middle; two go both ways."""
    config = ProposerConfig(width=16, depth=1, horizon=1, alternatives=2)
    torch.manual_seed(0)
    proposer = Proposer(config, latent=1, action=1)
    optimiser = torch.optim.Adam(proposer.parameters(), lr=0.01)
    latents, ahead = torch.zeros(3, 64, 1), torch.ones(64, dtype=torch.long)
    sides = torch.tensor([-1.0, 1.0]).repeat(32).view(64, 1, 1)
    for _ in range(300):
        optimiser.zero_grad()
        proposal_error(proposer, *latents, sides, ahead).backward()
        optimiser.step()
    left, right = proposer(*latents[:, :1], ahead[:1]).flatten().sort().values.tolist()
    assert left < -0.7
    assert right > 0.7


def test_of_no_actions_nothing_is_learned() -> None:
    none = proposal_error(
        lambda *_: torch.zeros(2, 4, 3, 0),
        *torch.zeros(3, 2, 4),
        torch.zeros(2, 3, 0),
        torch.ones(2),  # type: ignore[arg-type]
    )
    assert none.item() == 0


def test_a_right_distance_has_no_error() -> None:
    now, goal = torch.tensor([[1.0], [4.0]]), torch.tensor([[3.0], [9.0]])

    def apart(one: Tensor, other: Tensor) -> Tensor:
        return (other - one).abs().squeeze(-1)

    assert distance_error(apart, now, goal, torch.tensor([2, 5])).item() == 0  # type: ignore[arg-type]
    assert distance_error(apart, now, goal, torch.tensor([2, 6])).item() > 0  # type: ignore[arg-type]
