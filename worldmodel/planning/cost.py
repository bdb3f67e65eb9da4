"""What a plan costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError


@dataclass(frozen=True)
class CostConfig:
    """How the parts of a plan's cost are weighed.

    The first three weigh the distance of imagined latents to the goal's: its square, mean over dimensions, and
    `reach` times the squared actions that would carry one to the other within a block, as a linear map tells.

    Attributes:
        mean: over the whole plan: asks to be there soon.
        last: at the plan's end: asks to stay.
        least: where the plan comes closest: asks to touch it.
        effort: mean square of the actions, as shares of half the actuators' ranges from their middle.
        steps: frames that remain from the plan's end to the goal, as a learned network tells.
        reach: see above; it brings the robot itself to its place, which among all that is seen weighs little.
    """

    mean: float = 1.0
    last: float = 2.0
    least: float = 0.0
    effort: float = 0.0
    steps: float = 0.0
    reach: float = 1.0

    def __post_init__(self) -> None:
        weights = [getattr(self, entry.name) for entry in fields(self)]
        parts = (self.mean, self.last, self.least, self.effort, self.steps)  # reach only adds to the first three
        if not all(0 <= weight < float("inf") for weight in weights) or not any(parts):
            raise WorldModelError(
                f"The weights of the cost are {weights}; expected 0 or more each, and one above 0 beside reach."
            )


class PlanCost:
    """The weighted sum of a plan's costs; what weighs nothing is not computed.

    Shapes: B starts, N candidates, H blocks, K steps in a block, A actuators, D latent.

    Args:
        goal: latents of the goal images, `[B, D]`.
        low, high: actuator bounds `[A]`.
        steps_between: maps latents `[..., D]` and goals `[..., D]` to the frames between them, `[...]`; needed where
            `config.steps` weighs something.
        actions_between: maps the same to the actions between them, `[..., A]`, as shares of half the actuators' ranges;
            needed where `config.reach` weighs something.

    Raises:
        WorldModelError: something weighs, and nobody tells it.
    """

    def __init__(
        self,
        config: CostConfig,
        *,
        goal: Tensor,
        low: Tensor,
        high: Tensor,
        steps_between: Callable[[Tensor, Tensor], Tensor] | None = None,
        actions_between: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        if config.reach and actions_between is None:
            raise WorldModelError(
                f"cost.reach is {config.reach}, and nothing tells the actions between two latents; expected "
                "actions_between, such as a model's, or a weight of 0."
            )
        if config.steps and steps_between is None:
            raise WorldModelError(
                f"cost.steps is {config.steps}, and nothing tells the steps between two latents; expected "
                "steps_between, such as a model's, or a weight of 0."
            )
        self.config, self._goal = config, goal
        self._steps_between, self._actions_between = steps_between, actions_between
        self._middle, self._half = (high + low) / 2, (high - low) / 2

    def __call__(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Map latents `[B, N, H, D]` and actions `[B, N, H, K, A]` to costs `[B, N]`."""
        config, goal = self.config, self._goal[:, None, None]
        cost = torch.zeros(latents.shape[:2], device=latents.device)
        if config.mean or config.last or config.least:
            distance = (latents - goal).square().mean(-1)
            if config.reach and self._actions_between:
                distance = distance + config.reach * self._actions_between(latents, goal).square().sum(-1)
            cost = cost + config.mean * distance.mean(-1) + config.last * distance[..., -1]
            if config.least:
                cost = cost + config.least * distance.amin(-1)
        if config.effort:
            cost = cost + config.effort * ((actions - self._middle) / self._half).square().mean((-1, -2, -3))
        if config.steps and self._steps_between:
            cost = cost + config.steps * self._steps_between(
                latents[:, :, -1], goal[:, :, 0].expand_as(latents[:, :, -1])
            )
        return cost
