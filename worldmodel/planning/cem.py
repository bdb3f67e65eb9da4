"""The cross-entropy method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.planning.planner import Best, Deadline, Plan, Planner, PlanSpace, Problem, pick


@dataclass(frozen=True)
class CEMConfig:
    """How hard to search.

    Attributes:
        candidates: N, plans tried in a round.
        rounds: how often the Gaussian is refitted.
        elites: plans it is refitted to.
        spread: standard deviation to begin with, as a share of half the actuator's range.
        least_spread: the same, below which no refit goes, so that the search does not freeze.
    """

    candidates: int = 200
    rounds: int = 8
    elites: int = 12
    spread: float = 1.0
    least_spread: float = 0.02

    def __post_init__(self) -> None:
        if self.candidates < 3:
            raise WorldModelError(
                f"candidates is {self.candidates}; expected at least 3: the best so far, the mean, and one to draw."
            )
        if not 1 <= self.elites <= self.candidates:
            raise WorldModelError(f"elites is {self.elites}; expected 1 to candidates ({self.candidates}).")
        if self.rounds < 1:
            raise WorldModelError(f"rounds is {self.rounds}; expected at least 1.")
        for name in ("spread", "least_spread"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected a finite number, 0 or more.")


class CEMPlanner(Planner):
    """Draw from a Gaussian, keep the cheapest, refit the Gaussian to them, and again.

    Shapes: B starts, N candidates, H blocks, K steps in a block, A actuators.

    Source: Rubinstein and Kroese, The Cross-Entropy Method, 2004. Differs: the best candidate so far and the mean
    stay among the candidates, so the predicted cost never rises from round to round.
    """

    def __init__(self, config: CEMConfig, *, space: PlanSpace) -> None:
        super().__init__(space=space)
        self.config = config

    def plan(
        self,
        problem: Problem,
        *,
        generator: torch.Generator,
        warm: Tensor | None = None,
        deadline: Deadline | None = None,
    ) -> Plan:
        config, half = self.config, self.space.half
        mean = self._beginning(problem, warm)
        best = Best(mean)
        spread = (config.spread * half).expand_as(mean)
        for number in (deadline or Deadline(None)).rounds(config.rounds):
            candidates = self._draw(mean, spread, best.actions, generator)
            costs = problem.judge(candidates, number, elites=config.elites)
            best.update(candidates, costs)
            chosen = pick(candidates, costs.topk(config.elites, largest=False).indices)
            mean = chosen.mean(1)
            spread = torch.maximum(chosen.std(1, correction=0), config.least_spread * half)
        return best.plan()

    def _draw(self, mean: Tensor, spread: Tensor, best: Tensor, generator: torch.Generator) -> Tensor:
        """Draw N candidates `[B, N, H, K, A]` within the bounds; the first two are the best so far and the mean."""
        count = self.config.candidates
        noise = torch.randn(count, *self.space.shape, generator=generator, device=mean.device)
        candidates = mean[:, None] + spread[:, None] * noise
        candidates[:, 0] = best
        candidates[:, 1] = mean
        return self.space.clamp(candidates)
