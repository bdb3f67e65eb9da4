"""What a plan costs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class GoalCostConfig:
    """How the distances along a plan are weighed.

    Attributes:
        last: weight of the plan's end, beside a weight of 1 for the mean over the whole plan.
    """

    last: float = 2.0


class GoalCost:
    """Squared distance of imagined latents to the goal's latent, mean over dimensions.

    The mean over the plan asks to be there soon, the end asks to stay.

    Shapes: B starts, N candidates, H blocks, D latent.

    Args:
        goal: latents of the goal images, `[B, D]`.
    """

    def __init__(self, config: GoalCostConfig, *, goal: Tensor) -> None:
        self.config, self._goal = config, goal

    def __call__(self, latents: Tensor) -> Tensor:
        """Map `[B, N, H, D]` to `[B, N]`."""
        distance = (latents - self._goal[:, None, None]).square().mean(-1)
        return distance.mean(-1) + self.config.last * distance[..., -1]
