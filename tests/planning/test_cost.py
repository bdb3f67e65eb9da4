"""What plans cost, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.planning.cost import CostConfig, PlanCost

GOAL = torch.tensor([[1.0, 1.0]])
LATENTS = torch.tensor([[[[1.0, 1.0], [1.0, 3.0]], [[1.0, 3.0], [1.0, 1.0]]]])  # squared distances (0, 2) and (2, 0)
ACTIONS = torch.tensor([[[[[1.0, 4.0]], [[0.0, 2.0]]], [[[0.0, 2.0]], [[0.0, 2.0]]]]])  # (1, 1), (0, 0); nothing
LOW, HIGH = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 4.0])


def first_apart(now: Tensor, goal: Tensor) -> Tensor:
    return (goal - now)[..., 1].abs()


def half_apart(now: Tensor, goal: Tensor) -> Tensor:
    return (goal - now)[..., 1:] / 2


SEEN = torch.tensor([[[9.0, 9.0], [0.0, 4.0], [0.0, 5.0]]])  # the path is (4), 5, then 1, 3 or 3, 1


def fall_and_push(before: Tensor, now: Tensor, after: Tensor, actions: Tensor) -> Tensor:
    """A reward: how far the second number falls, a little how far it fell, and the first actuator's pushes."""
    return (now - after)[..., 1] + 0.1 * (before - now)[..., 1] + 10 * actions[..., 0].sum(-1)


def square_of_speed(before: Tensor, now: Tensor, actions: Tensor) -> Tensor:
    return (now - before)[..., 1].square() + 100 * actions[..., 0].sum(-1)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CostConfig(away=1.0, last=0.0, reach=0.0, near=2.0), [0.25, 0.25]),
        (CostConfig(away=3.0, last=0.0, reach=0.0, near=0.5), [1.2, 1.2]),
        (CostConfig(away=0.0, last=1.0, reach=0.0), [2.0, 0.0]),
        (CostConfig(away=0.0, last=1.0, reach=1.0), [3.0, 0.0]),
        (CostConfig(away=1.0, last=0.0, reach=10.0, near=4.0), [12 / 16 / 2, 12 / 16 / 2]),
        (CostConfig(away=0.0, last=0.0, least=1.0), [0.0, 0.0]),
        (CostConfig(away=0.0, last=0.0, effort=1.0), [0.5, 0.0]),
        (CostConfig(away=0.0, last=0.0, steps=1.0), [2.0, 0.0]),
        (
            CostConfig(away=0.0, last=0.0, reward=1.0),
            [-(2 + 0.1 * 3) / 2 - 5, -(4 + 0.1 * 1) / 2],
        ),
        (CostConfig(away=0.0, last=0.0, disagreement=1.0), [(1 + 16) / 2 + 50, (1 + 4) / 2]),
        (
            CostConfig(away=4.0, last=0.0, reach=0.0, reward=0.5, disagreement=2.0, near=2.0),
            [1 - 3.075 + 117, 1 - 1.025 + 5],
        ),
        (
            CostConfig(away=4.0, last=3.0, least=1.0, effort=2.0, steps=0.5, reach=0.0, near=2.0),
            [1 + 6 + 0 + 1 + 1, 1.0],
        ),
    ],
)
def test_the_cost_of_a_plan(config: CostConfig, expected: list[float]) -> None:
    cost = PlanCost(
        config,
        low=LOW,
        high=HIGH,
        goal=GOAL,
        seen=SEEN,
        steps_between=first_apart,
        actions_between=half_apart,
        reward_of=fall_and_push,
        disagreement_about=square_of_speed,
    )
    torch.testing.assert_close(cost(LATENTS, ACTIONS), torch.tensor([expected]))


def test_before_the_first_frame_the_world_stood_still() -> None:
    config = CostConfig(away=0.0, last=0.0, reach=0.0, disagreement=2.0)
    cost = PlanCost(config, low=LOW, high=HIGH, seen=SEEN[:, -1:], disagreement_about=square_of_speed)
    torch.testing.assert_close(cost(LATENTS, ACTIONS), torch.tensor([[16.0 + 100.0, 4.0]]))


def test_a_cost_without_a_goal_needs_none() -> None:
    config = CostConfig(away=0.0, last=0.0, reach=0.0, reward=1.0)
    assert not config.asks_for_goal
    cost = PlanCost(config, low=LOW, high=HIGH, seen=SEEN, reward_of=fall_and_push)
    torch.testing.assert_close(cost(LATENTS, ACTIONS), torch.tensor([[-6.15, -2.05]]))
    for weights in ({"away": 1.0}, {"last": 1.0}, {"least": 1.0}, {"steps": 1.0}):
        assert CostConfig(**{"away": 0.0, "last": 0.0, "reward": 1.0, **weights}).asks_for_goal


@pytest.mark.parametrize(
    ("weights", "what"),
    [
        ({}, "weighs the way to a goal.*expected a goal"),
        ({"away": 0.0, "last": 0.0, "effort": 1.0}, r"cost\.reach is 1\.0.*actions_between"),
        ({"away": 0.0, "last": 0.0, "reach": 0.0, "reward": 2.0}, r"cost\.reward is 2\.0.*reward_of"),
        ({"away": 0.0, "last": 0.0, "reach": 0.0, "disagreement": 2.0}, r"cost\.disagreement is 2.*disagreement_about"),
    ],
)
def test_what_weighs_and_is_not_told_is_refused(weights: dict[str, float], what: str) -> None:
    with pytest.raises(WorldModelError, match=what):
        PlanCost(CostConfig(**weights), low=LOW, high=HIGH)


@pytest.mark.parametrize("name", ["reward", "disagreement"])
def test_what_looks_at_the_frames_seen_needs_them(name: str) -> None:
    config = CostConfig(**{"away": 0.0, "last": 0.0, "reach": 0.0, name: 1.0})
    with pytest.raises(WorldModelError, match=rf"cost\.{name}.*frames seen"):
        PlanCost(config, low=LOW, high=HIGH, reward_of=fall_and_push, disagreement_about=square_of_speed)


@pytest.mark.parametrize(
    "weights",
    [
        {"away": -1.0},
        {"last": float("nan")},
        {"away": 0.0, "last": 0.0},
        {"reward": -1.0},
        {"disagreement": float("inf")},
    ],
)
def test_weights_that_make_no_cost_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(WorldModelError, match="weights of the cost"):
        CostConfig(**weights)


@pytest.mark.parametrize("near", [0.0, -1.0, float("nan")])
def test_a_distance_that_is_never_near_is_refused(near: float) -> None:
    with pytest.raises(WorldModelError, match=r"cost\.near is .*more than 0"):
        CostConfig(near=near)
