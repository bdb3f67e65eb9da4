"""The cross-entropy method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError

Rollout = Callable[[Tensor], Tensor]
Cost = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CEMConfig:
    """How hard to search.

    Attributes:
        horizon: H, action blocks in a plan.
        candidates: N, plans tried in a round.
        rounds: how often the Gaussian is refitted.
        elites: plans it is refitted to.
        spread: standard deviation to begin with, as a share of half the actuator's range.
        least_spread: the same, below which no refit goes, so that the search does not freeze.
    """

    horizon: int = 5
    candidates: int = 200
    rounds: int = 8
    elites: int = 12
    spread: float = 1.0
    least_spread: float = 0.02

    def __post_init__(self) -> None:
        if not 1 <= self.elites <= self.candidates:
            raise WorldModelError(f"elites is {self.elites}; expected 1 to candidates ({self.candidates}).")
        for name in ("horizon", "rounds"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least 1.")


@dataclass(frozen=True)
class Plan:
    """The best plans found.

    Attributes:
        actions: `[B, H, K, A]`, in the actuators' units.
        cost: `[B]`, as predicted.
        best_by_round: `[rounds, B]`, lowest cost found up to each round.
    """

    actions: Tensor
    cost: Tensor
    best_by_round: Tensor


class CEMPlanner:
    """Search for the action sequences with the lowest predicted cost, for all starts at once.

    Each round draws candidates from a diagonal Gaussian, keeps the cheapest `config.elites`, and refits
    mean and standard deviation.

    Shapes: B starts, N candidates, H blocks, K control steps in a block, A actuators, D latent.

    Args:
        low, high: actuator bounds `[A]`, in each actuator's unit (N m, rad or m); no candidate leaves them.
        steps: K.

    Source: Rubinstein and Kroese, The Cross-Entropy Method, 2004. Differs: the best candidate so far and the mean
    stay among the candidates, so the predicted cost never rises from round to round.
    """

    def __init__(self, config: CEMConfig, *, low: Tensor, high: Tensor, steps: int) -> None:
        self.config = config
        self._low, self._high = low, high
        self._shape = (config.horizon, steps, len(low))

    def plan(
        self, rollout: Rollout, cost: Cost, *, starts: int, generator: torch.Generator, warm: Tensor | None = None
    ) -> Plan:
        """Plan from every start.

        Args:
            rollout: `actions [B, N, H, K, A] -> latents [B, N, H, D]`; no gradient, no random draw.
            cost: `latents [B, N, H, D] -> [B, N]`; lower is better.
            starts: B.
            generator: draws the candidates, on the device of the bounds.
            warm: means to begin with, `[B, H, K, A]`, such as the rest of the last plan; the middle of the
                bounds when left out.

        Raises:
            WorldModelError: a cost is not finite; names the round, the start and the candidate.
        """
        config = self.config
        half = (self._high - self._low) / 2
        middle = ((self._high + self._low) / 2).expand(starts, *self._shape)
        mean = middle if warm is None else warm.clamp(self._low, self._high)
        best, best_cost = mean, torch.full((starts,), torch.inf, device=mean.device)
        spread = (config.spread * half).expand_as(mean)
        history = []
        for number in range(config.rounds):
            candidates = self._draw(mean, spread, best, generator)
            costs = cost(rollout(candidates))
            _check_finite(costs, number)
            elite_costs, elite = costs.topk(config.elites, largest=False)
            chosen = candidates.gather(1, elite[..., None, None, None].expand(-1, -1, *self._shape))
            best, best_cost = chosen[:, 0], elite_costs[:, 0]
            mean = chosen.mean(1)
            spread = torch.maximum(chosen.std(1, correction=0), config.least_spread * half)
            history.append(best_cost)
        return Plan(best, best_cost, torch.stack(history))

    def _draw(self, mean: Tensor, spread: Tensor, best: Tensor, generator: torch.Generator) -> Tensor:
        """Draw N candidates `[B, N, H, K, A]` within the bounds; the first two are the best so far and the mean."""
        size = (len(mean), self.config.candidates, *self._shape)
        noise = torch.randn(size, generator=generator, device=mean.device)
        candidates = mean[:, None] + spread[:, None] * noise
        candidates[:, 0] = best
        candidates[:, min(1, self.config.candidates - 1)] = mean
        return candidates.clamp(self._low, self._high)


def _check_finite(costs: Tensor, number: int) -> None:
    if not torch.isfinite(costs).all():
        start, candidate = (~torch.isfinite(costs)).nonzero()[0].tolist()
        raise WorldModelError(
            f"Round {number}, start {start}: candidate {candidate} has cost {costs[start, candidate].item()}; expected "
            "a finite number. The world model's forecast or the cost function is broken: look at its training log."
        )
