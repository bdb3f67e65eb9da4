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


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CostConfig(mean=1.0, last=0.0, reach=0.0), [1.0, 1.0]),
        (CostConfig(mean=0.0, last=1.0, reach=0.0), [2.0, 0.0]),
        (CostConfig(mean=0.0, last=1.0, reach=1.0), [3.0, 0.0]),
        (CostConfig(mean=1.0, last=0.0, reach=10.0), [6.0, 6.0]),
        (CostConfig(mean=0.0, last=0.0, least=1.0), [0.0, 0.0]),
        (CostConfig(mean=0.0, last=0.0, effort=1.0), [0.5, 0.0]),
        (CostConfig(mean=0.0, last=0.0, steps=1.0), [2.0, 0.0]),
        (CostConfig(mean=1.0, last=3.0, least=1.0, effort=2.0, steps=0.5, reach=0.0), [1 + 6 + 0 + 1 + 1, 1.0]),
    ],
)
def test_the_cost_of_a_plan(config: CostConfig, expected: list[float]) -> None:
    cost = PlanCost(config, goal=GOAL, low=LOW, high=HIGH, steps_between=first_apart, actions_between=half_apart)
    torch.testing.assert_close(cost(LATENTS, ACTIONS), torch.tensor([expected]))


@pytest.mark.parametrize("weights", [{"mean": -1.0}, {"last": float("nan")}, {"mean": 0.0, "last": 0.0}])
def test_weights_that_make_no_cost_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(WorldModelError, match="weights of the cost"):
        CostConfig(**weights)
