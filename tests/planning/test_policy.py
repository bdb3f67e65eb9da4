"""Planning with a model: one whose world is known, and a tiny one that knows nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.models.imagination import Imagination
from worldmodel.models.world_model import WorldModel
from worldmodel.planning import policy as policy_module
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.cost import CostConfig
from worldmodel.planning.planner import Deadline, Round
from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
from worldmodel.planning.proposal import ProposalConfig
from worldmodel.planning.registry import PLANNERS, PlannerName
from worldmodel.training.device import Compute

CEM = CEMConfig(candidates=40, rounds=4, elites=8)
CONFIG = PlanningConfig(planner="cem", horizon=3, history=2, hold=1, cem=CEM)
SEARCHING = ProposalConfig(search=True)


def frames(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


class Cart:
    """A hand-made world and its perfect model: a frame's brightness is the cart's place, an action pushes it on."""

    def __init__(self) -> None:
        self.low, self.high = torch.tensor([-1.0]), torch.tensor([1.0])
        self.longest_clip, self.most_visible = 8, 3
        self.interface: Any = SimpleNamespace(steps_per_frame=4, low=(-1.0,), high=(1.0,), proprioception=0)

    def to(self, device: torch.device) -> Cart:
        return self

    def encode(self, frames: Tensor) -> Tensor:
        return frames[..., 0, 0, :1].float() / 255

    def remember(self, latents: Tensor, actions: Tensor, felt: Tensor | None) -> Tensor:
        return latents[:, -1]

    def imagine(self, state: Tensor, actions: Tensor) -> Tensor:
        return state[:, None, None] + 0.2 * actions.mean(3).cumsum(2)

    def propose(self, before: Tensor, now: Tensor, goal: Tensor, *, horizon: int, hold: int) -> Tensor:
        """Go at full speed, one way and the other."""
        return torch.tensor([-1.0, 1.0])[:, None, None, None].expand(len(now), -1, horizon, 4 // hold, 1)

    def steps_between(self, now: Tensor, goal: Tensor) -> Tensor:
        return (goal - now).abs().squeeze(-1) / 0.2

    def actions_between(self, now: Tensor, goal: Tensor) -> Tensor:
        return (goal - now) / 0.2

    reward = disagreement = SimpleNamespace(known=True)

    def reward_of(self, before: Tensor, now: Tensor, after: Tensor, actions: Tensor) -> Tensor:
        """Most at 0.7."""
        assert actions.shape[-2:] == (4, 1)
        return -(after - 0.7).abs().squeeze(-1)

    def disagreement_about(self, before: Tensor, now: Tensor, actions: Tensor) -> Tensor:
        """Sure where a push ends left of 0.5."""
        assert actions.shape[-2:] == (4, 1)
        return (now + 0.2 * actions.mean(-2) - 0.5).clamp_min(0).squeeze(-1)


def picture(place: Tensor) -> Tensor:
    return (place * 255).round().clamp(0, 255).to(torch.uint8)[:, None, None, None].expand(-1, 4, 4, 3)


@pytest.mark.parametrize("planner", ["cem", "proposal"])
def test_a_perfect_model_gets_there(cpu: Compute, monkeypatch: pytest.MonkeyPatch, planner: PlannerName) -> None:
    monkeypatch.setattr(policy_module, "Imagination", lambda model, hold, dtype: model)
    cart: Any = Cart()
    config = PlanningConfig(
        planner=planner, horizon=3, history=1, hold=2, cem=CEM, proposal=ProposalConfig(search=True, cem=CEM)
    )
    policy = PlanningPolicy(config, model=cart, compute=cpu, seed=0)
    place, goal = torch.tensor([0.1, 0.9, 0.5]), torch.tensor([0.8, 0.3, 0.5])
    policy.reset(picture(goal))
    for _ in range(6):
        decision = policy(picture(place))
        place = place + 0.2 * decision.actions[:, :, 0].mean(1)
        torch.testing.assert_close(decision.imagined[:, 0, 0], place, rtol=0, atol=0.01)
    assert (place - goal).abs().max() < 0.05


@pytest.mark.parametrize("planner", [name for name in PLANNERS if name != "proposal"])  # which needs a goal
@pytest.mark.parametrize(("disagreement", "end"), [(0.0, 0.7), (10.0, 0.5)])
def test_a_reward_is_enough(
    cpu: Compute, monkeypatch: pytest.MonkeyPatch, planner: PlannerName, disagreement: float, end: float
) -> None:
    monkeypatch.setattr(policy_module, "Imagination", lambda model, hold, dtype: model)
    cart: Any = Cart()
    cost = CostConfig(away=0.0, last=0.0, reward=1.0, disagreement=disagreement)
    config = PlanningConfig(planner=planner, horizon=3, history=2, hold=2, cem=CEM, cost=cost)
    policy = PlanningPolicy(config, model=cart, compute=cpu, seed=0)
    policy.reset()
    place = torch.tensor([0.1, 0.9, 0.5])
    for _ in range(8):
        place = place + 0.2 * policy(picture(place)).actions[:, :, 0].mean(1)
    assert (place - end).abs().max() < 0.05


def test_a_cost_that_weighs_a_goal_asks_for_one(tiny_model: WorldModel, cpu: Compute) -> None:
    policy = PlanningPolicy(CONFIG, model=tiny_model, compute=cpu, seed=0)
    with pytest.raises(WorldModelError, match=r"no goal images were given.*cost\.reward"):
        policy.reset()


def test_a_decision_before_a_goal_was_given_is_refused(tiny_model: WorldModel, cpu: Compute) -> None:
    policy = PlanningPolicy(CONFIG, model=tiny_model, compute=cpu, seed=0)
    with pytest.raises(WorldModelError, match=r"there is none yet.*reset\(goals\)"):
        policy(frames(1))


def test_other_robots_than_were_begun_with_are_refused(tiny_model: WorldModel, cpu: Compute) -> None:
    policy = PlanningPolicy(CONFIG, model=tiny_model, compute=cpu, seed=0)
    policy.reset(frames(2))
    with pytest.raises(WorldModelError, match="frames of 3 robots and goals of 2"):
        policy(frames(3))
    policy(frames(2))
    policy.aim(frames(3))
    with pytest.raises(WorldModelError, match="frames of 3 robots and frames before of 2"):
        policy(frames(3))


def test_proposals_are_refused_where_there_is_no_goal(cpu: Compute) -> None:
    cart: Any = Cart()
    config = PlanningConfig(horizon=3, cost=CostConfig(away=0.0, last=0.0, reward=1.0))
    with pytest.raises(WorldModelError, match=r"'proposal'.*cem, icem or mppi"):
        PlanningPolicy(config, model=cart, compute=cpu, seed=0)


@pytest.mark.parametrize(
    ("cost", "what"),
    [
        (CostConfig(reward=0.5), r"cost\.reward is 0\.5.*knows no reward.*Reacher.*Record an environment"),
        (CostConfig(disagreement=0.5), r"cost\.disagreement is 0\.5.*not learned.*Finish"),
    ],
)
def test_what_the_model_has_not_learned_cannot_be_weighed(
    tiny_model: WorldModel, cpu: Compute, cost: CostConfig, what: str
) -> None:
    with pytest.raises(WorldModelError, match=what):
        PlanningPolicy(PlanningConfig(horizon=3, history=2, cost=cost), model=tiny_model, compute=cpu, seed=0)


@pytest.mark.parametrize("hold", [0, 2])
def test_actions_stay_in_bounds_and_are_held(tiny_model: WorldModel, cpu: Compute, hold: int) -> None:
    config = PlanningConfig(planner="cem", horizon=3, history=2, hold=hold, cem=CEM)
    policy = PlanningPolicy(config, model=tiny_model, compute=cpu, seed=0)
    policy.reset(frames(3, seed=9))
    for step in range(3):
        decision = policy(frames(3, seed=step))
        assert decision.actions.shape == (3, 2, 2)
        assert decision.imagined.shape == (3, 3, 8)
        assert (decision.actions >= tiny_model.low).all()
        assert (decision.actions <= tiny_model.high).all()
        assert torch.equal(decision.actions[:, 0], decision.actions[:, 1])


@pytest.mark.parametrize("hold", [-1, 3, 4])
def test_a_hold_that_does_not_divide_the_block_is_refused(tiny_model: WorldModel, cpu: Compute, hold: int) -> None:
    with pytest.raises(WorldModelError, match=rf"hold is {hold}.*2 control steps"):
        PlanningPolicy(PlanningConfig(hold=hold), model=tiny_model, compute=cpu, seed=0)


def test_history_is_limited_and_is_what_was_done(
    tiny_model: WorldModel, cpu: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    remember = Imagination.remember

    def spy(imagination: Imagination, latents: Tensor, actions: Tensor, felt: Tensor | None) -> Tensor:
        given.append((latents, actions))
        return remember(imagination, latents, actions, felt)

    monkeypatch.setattr(Imagination, "remember", spy)
    policy = PlanningPolicy(CONFIG, model=tiny_model, compute=cpu, seed=0)
    policy.reset(frames(2, seed=9))
    done = [policy(frames(2, seed=step)).actions for step in range(4)]
    assert [latents.shape[1] for latents, _ in given] == [1, 2, 2, 2]
    for step, (latents, actions) in enumerate(given):
        torch.testing.assert_close(latents[:, -1], tiny_model.encode(frames(2, seed=step)))
        if step:
            torch.testing.assert_close(latents[:, 0], tiny_model.encode(frames(2, seed=step - 1)))
            assert torch.equal(actions[:, 0], done[step - 1])
    policy.reset(frames(2, seed=9))
    policy(frames(2))
    assert given[-1][0].shape[1] == 1  # a new episode remembers nothing of the last


@pytest.mark.parametrize(("history", "horizon", "most"), [(-1, 3, 2), (3, 3, 2), (3, 1, 2), (2, 4, 1)])
def test_a_history_that_was_not_trained_is_refused(
    tiny_model: WorldModel, cpu: Compute, history: int, horizon: int, most: int
) -> None:
    config = PlanningConfig(history=history, hold=1, horizon=horizon)
    with pytest.raises(WorldModelError, match=rf"history is {history}; expected 1 to {most}.*up to 2 frames.*5 frames"):
        PlanningPolicy(config, model=tiny_model, compute=cpu, seed=0)


@pytest.mark.parametrize(("horizon", "remembered"), [(3, 2), (4, 1)])
def test_as_much_is_remembered_as_was_visible_and_fits(
    tiny_model: WorldModel, cpu: Compute, horizon: int, remembered: int
) -> None:
    decisions = []
    for history in (0, remembered):
        config = PlanningConfig(planner="cem", horizon=horizon, history=history, hold=1, cem=CEM)
        policy = PlanningPolicy(config, model=tiny_model, compute=cpu, seed=0)
        policy.reset(frames(1, seed=9))
        for step in range(3):
            decision = policy(frames(1, seed=step))
        decisions.append(decision.plan.actions)
    assert torch.equal(*decisions)


@pytest.mark.parametrize("horizon", [0, 5, 9])
def test_a_horizon_of_nothing_or_too_much_is_refused(tiny_model: WorldModel, cpu: Compute, horizon: int) -> None:
    with pytest.raises(WorldModelError, match=rf"horizon is {horizon}; expected 1 to 4.*5 frames"):
        PlanningPolicy(PlanningConfig(history=1, hold=1, horizon=horizon), model=tiny_model, compute=cpu, seed=0)


def test_frames_of_another_size_are_refused(tiny_model: WorldModel, cpu: Compute) -> None:
    policy = PlanningPolicy(CONFIG, model=tiny_model, compute=cpu, seed=0)
    with pytest.raises(WorldModelError, match="16, 32, 3"):
        policy.reset(frames(1)[:, :16])
    policy.reset(frames(1))
    with pytest.raises(WorldModelError, match="16, 32, 3"):
        policy(frames(1)[:, :16])


def test_the_seed_decides(tiny_model: WorldModel, cpu: Compute) -> None:
    plans = []
    for seed in (1, 1, 2):
        policy = PlanningPolicy(CONFIG, model=tiny_model, compute=cpu, seed=seed)
        policy.reset(frames(2, seed=9))
        plans.append(policy(frames(2)).plan.actions)
    assert torch.equal(plans[0], plans[1])
    assert not torch.equal(plans[0], plans[2])


@pytest.mark.parametrize("name", sorted(PLANNERS))
def test_every_planner_plans_with_the_model(tiny_model: WorldModel, cpu: Compute, name: str) -> None:
    cost = CostConfig(steps=0.5, effort=0.1)
    config = PlanningConfig(planner=name, horizon=3, history=2, cost=cost, proposal=SEARCHING)  # type: ignore[arg-type]
    policy = PlanningPolicy(config, model=tiny_model, compute=cpu, seed=0)
    policy.reset(frames(2, seed=9))
    for step in range(2):
        decision = policy(frames(2, seed=step))
        assert decision.actions.shape == (2, 2, 2)
        assert not decision.actions.requires_grad
        assert (decision.plan.best_by_round[-1] < decision.plan.best_by_round[0]).any()
        assert 0 < decision.model_seconds <= decision.seconds


@pytest.mark.parametrize("planner", ["cem", "proposal"])
def test_a_budget_is_kept(tiny_model: WorldModel, cpu: Compute, planner: PlannerName) -> None:
    cem = CEMConfig(rounds=50)
    config = PlanningConfig(
        planner=planner, horizon=3, history=2, budget_ms=1e-3, cem=cem, proposal=ProposalConfig(search=True, cem=cem)
    )
    policy = PlanningPolicy(config, model=tiny_model, compute=cpu, seed=0)
    policy.reset(frames(1, seed=9))
    assert len(policy(frames(1)).plan.best_by_round) == 1


def test_a_search_without_end_answers_about_on_time(tiny_model: WorldModel, cpu: Compute) -> None:
    config = PlanningConfig(planner="cem", horizon=3, history=2, budget_ms=200, cem=CEMConfig(rounds=10**6))
    policy = PlanningPolicy(config, model=tiny_model, compute=cpu, seed=0)
    policy.reset(frames(1, seed=9))
    decision = policy(frames(1))
    assert len(decision.plan.best_by_round) > 1
    assert decision.seconds < 5  # however slow the machine is; a million rounds take hours


def test_who_watches_sees_each_round_and_changes_nothing(tiny_model: WorldModel, cpu: Compute) -> None:
    rounds: list[Round] = []
    watched, unwatched = (PlanningPolicy(CONFIG, model=tiny_model, compute=cpu, seed=0) for _ in range(2))
    for policy in (watched, unwatched):
        policy.reset(frames(2, seed=9))
    decision = watched(frames(2), watch=rounds.append)
    assert torch.equal(decision.plan.actions, unwatched(frames(2)).plan.actions)
    assert len(rounds) == CEM.rounds
    for tried, best in zip(rounds, decision.plan.best_by_round, strict=True):
        assert tried.actions.shape == (2, 40, 3, 2, 2)
        assert tried.latents.shape == (2, 40, 3, 8)
        assert tried.elites == CEM.elites
        assert (tried.cost.min(1).values >= best).all()
    assert (rounds[-1].actions.std(1).mean() < rounds[0].actions.std(1).mean()).item()
    assert torch.equal(rounds[-1].cost.min(1).values, decision.plan.cost)


@pytest.mark.parametrize("hold", [1, 2])
def test_what_another_has_seen_and_done_is_planned_from_as_its_own(
    tiny_model: WorldModel, cpu: Compute, hold: int
) -> None:
    config = PlanningConfig(planner="cem", horizon=3, history=2, hold=hold, cem=CEM)
    own, other = (PlanningPolicy(config, model=tiny_model, compute=cpu, seed=0) for _ in range(2))
    for policy in (own, other):
        policy.reset(frames(2, seed=9))
    first, second = own(frames(2, seed=0)), own(frames(2, seed=1))
    with torch.no_grad():
        seen = torch.stack([tiny_model.encode(frames(2, seed=step)) for step in range(2)], 1)
    began = other.decide(seen[:, :1], torch.zeros(2, 0, 2, 2))
    assert torch.equal(began.actions, first.actions)
    assert torch.equal(other.decide(seen, first.actions[:, None]).actions, second.actions)


def test_a_search_that_is_called_off_ends_after_its_round(tiny_model: WorldModel, cpu: Compute) -> None:
    rounds: list[Round] = []
    policy = PlanningPolicy(CONFIG, model=tiny_model, compute=cpu, seed=0)
    policy.reset(frames(1, seed=9))
    with torch.no_grad():
        seen = tiny_model.encode(frames(1))[:, None]
    deadline = Deadline(None, called_off=lambda: len(rounds) == 2)
    decision = policy.decide(seen, torch.zeros(1, 0, 2, 2), deadline=deadline, watch=rounds.append)
    assert len(rounds) == len(decision.plan.best_by_round) == 2


def test_without_a_search_the_best_proposal_is_taken(tiny_model: WorldModel, cpu: Compute) -> None:
    rounds: list[Round] = []
    config = PlanningConfig(horizon=3, history=2, proposal=ProposalConfig(search=False, rest=0.0))
    policy = PlanningPolicy(config, model=tiny_model, compute=cpu, seed=0)
    policy.reset(frames(2, seed=9))
    decision = policy(frames(2), watch=rounds.append)
    (proposals,) = rounds
    best = proposals.cost.argmin(1)
    assert torch.equal(decision.plan.actions, proposals.actions[torch.arange(2), best])


def test_the_proposals_are_the_first_round_and_what_is_found_counts_from_it(
    tiny_model: WorldModel, cpu: Compute
) -> None:
    rounds: list[Round] = []
    config = PlanningConfig(horizon=3, history=2, proposal=SEARCHING)
    policy = PlanningPolicy(config, model=tiny_model, compute=cpu, seed=0)
    policy.reset(frames(2, seed=9))
    decision = policy(frames(2), watch=rounds.append)
    with torch.no_grad():
        now, goal = tiny_model.encode(frames(2)), tiny_model.encode(frames(2, seed=9))
        torch.testing.assert_close(rounds[0].actions[:, :-1], tiny_model.propose(now, now, goal, horizon=3, hold=1))
    assert torch.equal(rounds[0].actions[:, -1], ((tiny_model.low + tiny_model.high) / 2).expand(2, 3, 2, 2))
    assert rounds[0].elites == 1
    assert len(rounds) == len(decision.plan.best_by_round) == 1 + policy.config.proposal.cem.rounds
    torch.testing.assert_close(decision.plan.best_by_round[0], rounds[0].cost.min(1).values)
    assert (decision.plan.best_by_round.diff(dim=0) <= 0).all()
    policy(frames(2, seed=1), watch=rounds.append)
    assert torch.equal(rounds[len(rounds) // 2].actions[:, -2, :2], decision.plan.actions[:, 1:])  # its rest
