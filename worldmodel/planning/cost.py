"""What a plan costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError

Between = Callable[[Tensor, Tensor], Tensor]
OfBlock = Callable[[Tensor, Tensor, Tensor], Tensor]
OfBlockDone = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class CostConfig:
    """How the parts of a plan's cost are weighed.

    The first three weigh the distance of imagined latents to the goal's: its square, mean over dimensions, and
    `reach` times the squared actions that would carry one to the other within a block, as a linear map tells.

    Attributes:
        away: mean over the plan of distance / (distance + near), which is 0 at the goal and 1 far from it: asks to be
            there soon. The distance itself in its place asks for every step towards the goal at once: PushT's pusher
            went to its own place and left the block; and a small weight of that dallied at the end. Of 200 goals, 76 %
            were held by the best of its weights, 84 by this; on the reacher `icem` came from 92 to 99 %.
        last: at the plan's end: asks to stay.
        least: where the plan comes closest: asks to touch it.
        effort: mean square of the actions, as shares of half the actuators' ranges from their middle.
        steps: frames that remain from the plan's end to the goal, as a learned network tells.
        reach: see above; it brings the robot itself to its place, which among all that is seen weighs little.
        reward: mean over the plan of its blocks' rewards, as a learned network tells, in standard deviations of the
            recorded ones; it lowers the cost.
        disagreement: mean over the plan of the variance among several networks' forecasts of each block, where 1 is the
            variance of the latents' steps: asks to stay where the world is known.
        near: the distance at which `away` counts half.
    """

    away: float = 1.0
    last: float = 2.0
    least: float = 0.0
    effort: float = 0.0
    steps: float = 0.0
    reach: float = 1.0
    reward: float = 0.0
    disagreement: float = 0.0
    near: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.near < float("inf"):
            raise WorldModelError(f"cost.near is {self.near}; expected more than 0.")
        weights = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "near"}
        alone = [weight for name, weight in weights.items() if name != "reach"]  # which only adds to the first three
        if not all(0 <= weight < float("inf") for weight in weights.values()) or not any(alone):
            raise WorldModelError(
                f"The weights of the cost are {list(weights.values())} ({', '.join(weights)}); expected 0 or more "
                "each, and one above 0 beside reach."
            )

    @property
    def asks_for_goal(self) -> bool:
        """Whether a part that looks at the goal weighs something."""
        return any((self.away, self.last, self.least, self.steps))


class PlanCost:
    """The weighted sum of a plan's costs; what weighs nothing is not computed.

    Shapes: B starts, N candidates, H blocks, K steps in a block, A actuators, D latent, C frames seen.

    Args:
        low, high: actuator bounds `[A]`.
        goal: latents of the goal images, `[B, D]`; needed where `config.asks_for_goal`.
        seen: latents of the last frames, `[B, C, D]`, the present one last; needed where `config.reward` or
            `config.disagreement` weighs something.
        steps_between: maps latents `[..., D]` and goals `[..., D]` to the frames between them, `[...]`; needed where
            `config.steps` weighs something.
        actions_between: maps the same to the actions between them, `[..., A]`, as shares of half the actuators' ranges;
            needed where `config.reach` weighs something.
        reward_of: maps the latents `[..., D]` of the frame before, of that at which a block begins and of that at which
            it ends, and the blocks, `[..., K, A]`, to their rewards, `[...]`; needed where `config.reward` weighs
            something.
        disagreement_about: maps the first two of these, and the blocks, to the variance of what is forecast of them,
            `[...]`; needed where `config.disagreement` weighs something.

    Raises:
        WorldModelError: something weighs, and nobody tells it.
    """

    def __init__(
        self,
        config: CostConfig,
        *,
        low: Tensor,
        high: Tensor,
        goal: Tensor | None = None,
        seen: Tensor | None = None,
        steps_between: Between | None = None,
        actions_between: Between | None = None,
        reward_of: OfBlockDone | None = None,
        disagreement_about: OfBlock | None = None,
    ) -> None:
        if config.asks_for_goal and goal is None:
            raise WorldModelError(
                "The cost weighs the way to a goal, and there is none; expected a goal, or weights of 0 for away, "
                "last, least and steps."
            )
        for name, told, who in (
            ("reach", actions_between, "actions_between, such as a model's"),
            ("steps", steps_between, "steps_between, such as a model's"),
            ("reward", reward_of, "reward_of, such as a model's"),
            ("reward", seen, "latents of the frames seen"),
            ("disagreement", disagreement_about, "disagreement_about, such as a model's"),
            ("disagreement", seen, "latents of the frames seen"),
        ):
            if getattr(config, name) and told is None:
                raise WorldModelError(
                    f"cost.{name} is {getattr(config, name)}, and nothing tells what it weighs; expected {who}, or a "
                    "weight of 0."
                )
        self.config, self._goal, self._seen = config, goal, seen
        self._steps_between, self._actions_between = steps_between, actions_between
        self._reward_of, self._disagreement_about = reward_of, disagreement_about
        self._middle, self._half = (high + low) / 2, (high - low) / 2

    def __call__(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Map latents `[B, N, H, D]` and actions `[B, N, H, K, A]` to costs `[B, N]`."""
        config = self.config
        cost = torch.zeros(latents.shape[:2], device=latents.device)
        if self._goal is not None:
            cost = cost + self._to_goal(latents, self._goal[:, None, None])
        if config.effort:
            cost = cost + config.effort * ((actions - self._middle) / self._half).square().mean((-1, -2, -3))
        if (config.reward or config.disagreement) and self._seen is not None:
            cost = cost + self._on_the_way(_path(self._seen, latents), actions)
        return cost

    def _to_goal(self, latents: Tensor, goal: Tensor) -> Tensor:
        """Return what is left to the goal `[B, 1, 1, D]`, weighed, `[B, N]`."""
        config = self.config
        cost = torch.zeros(latents.shape[:2], device=latents.device)
        if config.away or config.last or config.least:
            distance = (latents - goal).square().mean(-1)
            if config.reach and self._actions_between:
                distance = distance + config.reach * self._actions_between(latents, goal).square().sum(-1)
            away = (distance / (distance + config.near)).mean(-1)
            cost = cost + config.away * away + config.last * distance[..., -1]
            if config.least:
                cost = cost + config.least * distance.amin(-1)
        if config.steps and self._steps_between:
            last = latents[:, :, -1]
            cost = cost + config.steps * self._steps_between(last, goal[:, :, 0].expand_as(last))
        return cost

    def _on_the_way(self, path: Tensor, actions: Tensor) -> Tensor:
        """Return what blocks earn and how unsure they are, weighed, `[B, N]`; the path is `[B, N, 2 + H, D]`."""
        config, (before, now, after) = self.config, (path[:, :, :-2], path[:, :, 1:-1], path[:, :, 2:])
        cost = torch.zeros(path.shape[:2], device=path.device)
        if config.reward and self._reward_of:
            cost = cost - config.reward * self._reward_of(before, now, after, actions).mean(-1)
        if config.disagreement and self._disagreement_about:
            cost = cost + config.disagreement * self._disagreement_about(before, now, actions).mean(-1)
        return cost


def _path(seen: Tensor, latents: Tensor) -> Tensor:
    """Put the last two frames seen before each plan's own; where only one was seen, it twice. `[B, N, 2 + H, D]`."""
    last = torch.stack([seen[:, max(0, seen.shape[1] - 2)], seen[:, -1]], 1)
    return torch.cat([last[:, None].expand(-1, latents.shape[1], -1, -1), latents], 2)
