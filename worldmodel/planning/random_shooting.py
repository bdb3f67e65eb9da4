"""Random shooting."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.planning.planner import Best, Deadline, Plan, Planner, PlanSpace, Problem


@dataclass(frozen=True)
class RandomShootingConfig:
    """How hard to search.

    Attributes:
        candidates: N, plans tried in a round.
        rounds: how many rounds, so that a time budget can end between two.
    """

    candidates: int = 200
    rounds: int = 8

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise WorldModelError(f"candidates is {self.candidates}; expected at least 2: the best, and one to draw.")
        if self.rounds < 1:
            raise WorldModelError(f"rounds is {self.rounds}; expected at least 1.")


class RandomShootingPlanner(Planner):
    """Try plans drawn uniformly within the bounds, and take the best: what every other planner has to beat.

    Shapes: B starts, N candidates, H blocks, K steps in a block, A actuators.
    """

    def __init__(self, config: RandomShootingConfig, *, space: PlanSpace) -> None:
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
        space, count = self.space, self.config.candidates
        best = Best(self._beginning(problem, warm))
        for number in (deadline or Deadline(None)).rounds(self.config.rounds):
            share = torch.rand(count, *space.shape, generator=generator, device=space.low.device)
            drawn = space.clamp(space.low + share * (space.high - space.low)).expand(problem.starts, -1, -1, -1, -1)
            candidates = torch.cat([best.actions[:, None], drawn[:, 1:]], 1)
            best.update(candidates, problem.judge(candidates, number))
        return best.plan()
