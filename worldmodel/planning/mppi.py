"""Model-predictive path integral control."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.planning.planner import Best, Deadline, Plan, Planner, PlanSpace, Problem


@dataclass(frozen=True)
class MPPIConfig:
    """How hard to search.

    Attributes:
        candidates: N, plans tried in a round.
        rounds: how often the mean is moved.
        temperature: a plan is weighed by exp(-(cost - lowest) / (temperature * standard deviation of the costs)).
        spread: standard deviation of the noise in the first round, as a share of half the actuator's range.
        decay: what the noise is multiplied by from round to round.
    """

    candidates: int = 200
    rounds: int = 8
    temperature: float = 0.2
    spread: float = 0.7
    decay: float = 0.75

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise WorldModelError(f"candidates is {self.candidates}; expected at least 2: the mean, and one to draw.")
        if self.rounds < 1:
            raise WorldModelError(f"rounds is {self.rounds}; expected at least 1.")
        for name in ("temperature", "spread", "decay"):
            if not 0 < getattr(self, name) < float("inf"):
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected a finite number above 0.")


class MPPIPlanner(Planner):
    """Move the mean to the average of all candidates, each weighed by how cheap it is.

    Shapes: B starts, N candidates, H blocks, K steps in a block, A actuators.

    Source: Williams et al., Information theoretic MPC for model-based reinforcement learning, 2017. Differs: several
    rounds with shrinking noise, a temperature in units of the costs' own spread, and the best plan tried is
    answered, among them the mean, instead of the mean.
    """

    def __init__(self, config: MPPIConfig, *, space: PlanSpace) -> None:
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
        config = self.config
        mean = self._beginning(problem, warm)
        best = Best(mean)
        for number in (deadline or Deadline(None)).rounds(config.rounds):
            spread = config.spread * config.decay**number * self.space.half
            noise = torch.randn(config.candidates, *self.space.shape, generator=generator, device=mean.device)
            candidates = mean[:, None] + spread * noise
            candidates[:, 0] = mean
            candidates = self.space.clamp(candidates)
            costs = problem.judge(candidates, number)
            best.update(candidates, costs)
            scale = config.temperature * costs.std(1, correction=0, keepdim=True).clamp_min(1e-12)
            weights = ((costs.min(1, keepdim=True).values - costs) / scale).softmax(1)
            mean = (weights[..., None, None, None] * candidates).sum(1)
        return best.plan()
