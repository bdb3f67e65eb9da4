"""Gradient descent through the model, alone and after a search."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.planning.cem import CEMConfig, CEMPlanner
from worldmodel.planning.planner import Best, Deadline, Plan, Planner, PlanSpace, Problem

MOMENT, SQUARE = 0.9, 0.999  # Adam's


@dataclass(frozen=True)
class GradientConfig:
    """How hard to search.

    Attributes:
        candidates: N, plans that descend side by side; the first begins where it is told, the others around it.
        rounds: steps of Adam; what the last of them leads to is judged in one round more.
        step: length of a step, as a share of half the actuator's range.
        spread: standard deviation of where the others begin, as a share of half the actuator's range.
    """

    candidates: int = 16
    rounds: int = 30
    step: float = 0.1
    spread: float = 0.7

    def __post_init__(self) -> None:
        for name in ("candidates", "rounds"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least 1.")
        for name, least in (("step", 1e-9), ("spread", 0.0)):
            if not least <= getattr(self, name) < float("inf"):
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected a finite number, at least {least}.")


class GradientPlanner(Planner):
    """Let several plans descend the gradient of their cost through the model.

    Plans are moved back into the bounds after each step. Needs a rollout and a cost that can be differentiated.

    Shapes: B starts, N candidates, H blocks, K steps in a block, A actuators.

    Source: Adam: Kingma and Ba, 2015; planning with it: Henaff et al., Model-based planning with discrete and
    continuous actions, 2017. Differs: projection into the bounds, several beginnings.
    """

    def __init__(self, config: GradientConfig, *, space: PlanSpace) -> None:
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
        config, space = self.config, self.space
        mean = self._beginning(problem, warm)
        best = Best(mean)
        noise = torch.randn(config.candidates, *space.shape, generator=generator, device=mean.device)
        noise[0] = 0
        candidates = space.clamp(mean[:, None] + config.spread * space.half * noise)
        moment, square = torch.zeros_like(candidates), torch.zeros_like(candidates)
        for number in (deadline or Deadline(None)).rounds(config.rounds + 1):
            if number == config.rounds:
                best.update(candidates, problem.judge(candidates, number))
                break
            costs, slope = self._descent(problem, candidates, number)
            best.update(candidates, costs)
            moment = MOMENT * moment + (1 - MOMENT) * slope
            square = SQUARE * square + (1 - SQUARE) * slope**2
            corrected = moment / (1 - MOMENT ** (number + 1))
            size = (square / (1 - SQUARE ** (number + 1))).sqrt() + 1e-12
            length = config.step * (1 - number / config.rounds)
            candidates = space.clamp(candidates - length * space.half * corrected / size)
        return best.plan()

    def _descent(self, problem: Problem, candidates: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Return costs `[B, N]`, and their slope in units of half the actuators' ranges, `[B, N, H, K, A]`."""
        with torch.enable_grad():
            leaves = candidates.detach().requires_grad_()
            costs = problem.judge(leaves, number)
            (slope,) = torch.autograd.grad(costs.sum(), leaves)
        if not torch.isfinite(slope).all():
            start, candidate = (~torch.isfinite(slope)).nonzero()[0].tolist()[:2]
            raise WorldModelError(
                f"Round {problem.played + number}, start {start}: the gradient of candidate {candidate} is not "
                "finite; expected finite numbers. The world model or the cost function is broken: look at its training "
                "log."
            )
        return costs.detach(), slope * self.space.half


@dataclass(frozen=True)
class CEMGradientConfig:
    """How hard to search, and how long to refine.

    Attributes:
        cem: the search.
        gradient: the refinement, of the plan that the search found and of some around it.
    """

    cem: CEMConfig = field(default_factory=lambda: CEMConfig(rounds=4))
    gradient: GradientConfig = field(
        default_factory=lambda: GradientConfig(candidates=4, rounds=10, step=0.05, spread=0.05)
    )


class CEMGradientPlanner(Planner):
    """Search with the cross-entropy method, then refine what it found by gradient.

    Source: Bharadhwaj et al., Model-predictive control via cross-entropy and gradient-based optimization, 2020.
    Differs: one after the other, instead of a gradient step in every round.
    """

    def __init__(self, config: CEMGradientConfig, *, space: PlanSpace) -> None:
        super().__init__(space=space)
        self.config = config
        self._search = CEMPlanner(config.cem, space=space)
        self._refine = GradientPlanner(config.gradient, space=space)

    def plan(
        self,
        problem: Problem,
        *,
        generator: torch.Generator,
        warm: Tensor | None = None,
        deadline: Deadline | None = None,
    ) -> Plan:
        found = self._search.plan(problem, generator=generator, warm=warm, deadline=deadline)
        if deadline is not None and not deadline.has_time:
            return found
        rest = problem.after(len(found.best_by_round))
        refined = self._refine.plan(rest, generator=generator, warm=found.actions, deadline=deadline)
        return found.then(refined)
