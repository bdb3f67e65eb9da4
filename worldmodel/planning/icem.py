"""The improved cross-entropy method: noise with a memory, and elites that are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.planning.planner import Best, Deadline, Plan, Planner, PlanSpace, Problem, pick


@dataclass(frozen=True)
class ICEMConfig:
    """How hard to search.

    Attributes:
        candidates: N, plans drawn in the first round.
        rounds: how often the Gaussian is refitted.
        elites: plans it is refitted to.
        kept: share of the elites that are tried again in the next round.
        shrink: each round draws this many times fewer candidates than the one before it, at least twice the elites.
        colour: exponent b of the noise, whose power falls with frequency as f^-b: 0 is white, 2 a random walk.
        momentum: share of the old mean and spread that a refit keeps.
        spread: standard deviation to begin with, as a share of half the actuator's range.
        least_spread: the same, below which no refit goes.
    """

    candidates: int = 128
    rounds: int = 5
    elites: int = 10
    kept: float = 0.3
    shrink: float = 1.25
    colour: float = 1.0
    momentum: float = 0.1
    spread: float = 1.0
    least_spread: float = 0.02

    def __post_init__(self) -> None:
        if not 1 <= self.elites <= self.candidates:
            raise WorldModelError(f"elites is {self.elites}; expected 1 to candidates ({self.candidates}).")
        if self.rounds < 1:
            raise WorldModelError(f"rounds is {self.rounds}; expected at least 1.")
        if not 1 <= self.shrink < float("inf"):
            raise WorldModelError(f"shrink is {self.shrink}; expected a finite number, at least 1.")
        for name in ("colour", "spread", "least_spread"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected a finite number, 0 or more.")
        for name in ("kept", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected a share from 0 to below 1.")


class ICEMPlanner(Planner):
    """The cross-entropy method with coloured noise and kept elites, for few samples.

    Shapes: B starts, N candidates, E elites, H blocks, K steps in a block, A actuators.

    Source: Pinneri et al., Sample-efficient cross-entropy method for real-time planning, 2020. Differs: the best
    plan so far and the mean are among the candidates of every round, not only of the last, and of the search
    before, a new one is given the rest of the best plan only, not elites beside it.
    """

    def __init__(self, config: ICEMConfig, *, space: PlanSpace) -> None:
        super().__init__(space=space)
        self.config = config
        self._colours = _coloured(space.horizon * space.steps, config.colour).to(space.low.device)

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
        kept = mean[:, None]
        for number in (deadline or Deadline(None)).rounds(config.rounds):
            count = max(round(config.candidates / config.shrink**number), min(2 * config.elites, config.candidates))
            drawn = mean[:, None] + spread[:, None] * self._noise(count, generator)
            candidates = self.space.clamp(torch.cat([best.actions[:, None], mean[:, None], kept, drawn], 1))
            costs = problem.judge(candidates, number, elites=config.elites)
            best.update(candidates, costs)
            elites = pick(candidates, costs.topk(config.elites, largest=False).indices)
            kept = elites[:, : round(config.kept * config.elites)]
            mean = config.momentum * mean + (1 - config.momentum) * elites.mean(1)
            fitted = config.momentum * spread + (1 - config.momentum) * elites.std(1, correction=0)
            spread = torch.maximum(fitted, config.least_spread * half)
        return best.plan()

    def _noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw noise of variance 1 and the configured colour along each plan, `[N, H, K, A]`."""
        horizon, steps, actuators = self.space.shape
        white = torch.randn(count, horizon * steps, actuators, generator=generator, device=self._colours.device)
        noise: Tensor = self._colours @ white
        return noise.view(count, horizon, steps, actuators)


def _coloured(length: int, colour: float) -> Tensor:
    """Return the matrix that turns white noise of `length` steps into coloured noise of variance 1."""
    spectrum = torch.fft.rfftfreq(length, dtype=torch.float64)
    spectrum[0] = 1 / length  # as the paper has it: the mean varies as the slowest wave does
    scale = spectrum ** (-colour / 2)
    matrix = torch.fft.irfft(torch.fft.rfft(torch.eye(length, dtype=torch.float64), dim=0) * scale[:, None], length, 0)
    coloured: Tensor = matrix / matrix.square().sum(1, keepdim=True).sqrt()
    return coloured.float()
