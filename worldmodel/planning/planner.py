"""What every planner is given, and what it gives."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError

Rollout = Callable[[Tensor], Tensor]
Cost = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class PlanSpace:
    """The plans among which a planner chooses.

    Attributes:
        low, high: actuator bounds `[A]`, in each actuator's unit (N m, rad or m); no candidate leaves them.
        horizon: H, action blocks in a plan.
        steps: K, actions in a block.
    """

    low: Tensor
    high: Tensor
    horizon: int
    steps: int

    def __post_init__(self) -> None:
        for name in ("horizon", "steps"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least 1.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(H, K, A)`."""
        return self.horizon, self.steps, len(self.low)

    @property
    def half(self) -> Tensor:
        """Half the range of each actuator, `[A]`."""
        return (self.high - self.low) / 2

    def middle(self, starts: int) -> Tensor:
        """The plans that stay in the middle of the bounds, `[B, H, K, A]`."""
        return ((self.high + self.low) / 2).expand(starts, *self.shape)

    def clamp(self, plans: Tensor) -> Tensor:
        """Move plans into the bounds."""
        return plans.clamp(self.low, self.high)


@dataclass(frozen=True)
class Round:
    """What a planner tried in one round.

    Shapes: B starts, N candidates, H blocks, K steps in a block, A actuators, D latent.

    Attributes:
        actions: `[B, N, H, K, A]`, the candidates, in the actuators' units.
        latents: `[B, N, H, D]`, where each is expected to lead.
        cost: `[B, N]`, as predicted.
        elites: how many of the cheapest the planner goes on from; 0 where it keeps none apart.
    """

    actions: Tensor
    latents: Tensor
    cost: Tensor
    elites: int


@dataclass(frozen=True)
class Problem:
    """What to plan for: a model, and a cost of what it forecasts.

    Shapes: B starts, N candidates, H blocks, K steps in a block, A actuators, D latent.

    Attributes:
        rollout: `actions [B, N, H, K, A] -> latents [B, N, H, D]`; no random draw. Planners that follow gradients
            need them through it.
        cost: `(latents [B, N, H, D], actions [B, N, H, K, A]) -> [B, N]`; lower is better.
        starts: B.
        proposals: plans worth trying first, `[B, P, H, K, A]`, from who knows the world; needed by `ProposalPlanner`.
        watch: is shown each round.
        played: rounds that another search has played before, from which this one goes on.
    """

    rollout: Rollout
    cost: Cost
    starts: int
    proposals: Tensor | None = None
    watch: Callable[[Round], None] | None = None
    played: int = 0

    def after(self, rounds: int) -> Problem:
        """Return the problem for a search that goes on after so many rounds."""
        return replace(self, played=self.played + rounds)

    def judge(self, candidates: Tensor, number: int, *, elites: int = 0) -> Tensor:
        """Return the costs `[B, N]` of candidates `[B, N, H, K, A]` of a search's round `number`.

        Args:
            elites: how many of the cheapest the planner goes on from, for who watches.

        Raises:
            WorldModelError: a cost is not finite; names the round, the start and the candidate.
        """
        latents = self.rollout(candidates)
        costs = self.cost(latents, candidates)
        if not torch.isfinite(costs).all():
            start, candidate = (~torch.isfinite(costs)).nonzero()[0].tolist()
            raise WorldModelError(
                f"Round {self.played + number}, start {start}: candidate {candidate} has cost "
                f"{costs[start, candidate].item()}; expected a finite number. The world model's forecast or the cost "
                "function is broken: look at its training log."
            )
        if self.watch is not None:
            self.watch(Round(candidates.detach(), latents.detach(), costs.detach(), elites))
        return costs


@dataclass(frozen=True)
class Plan:
    """The best plans found.

    Attributes:
        actions: `[B, H, K, A]`, in the actuators' units.
        cost: `[B]`, as predicted.
        best_by_round: `[rounds, B]`, lowest cost found up to each round that was played; `cost` is higher where a plan
            was found that is hardly better, and not taken.
    """

    actions: Tensor
    cost: Tensor
    best_by_round: Tensor

    def then(self, later: Plan, *, margin: float = 0.0, lead: float = 0.0) -> Plan:
        """Return the better plan of each start, of this search and of one that went on from it.

        Args:
            margin: by how large a share of this plan's cost the later one's must be lower.
            lead: by how much it must be lower besides.
        """
        better = later.cost < self.cost - margin * self.cost.abs() - lead
        actions = torch.where(better[:, None, None, None], later.actions, self.actions)
        history = torch.cat([self.best_by_round, torch.minimum(later.best_by_round, self.cost)])
        return Plan(actions, torch.where(better, later.cost, self.cost), history)


class Deadline:
    """A moment by which a plan must be there.

    Args:
        seconds: from now on; None never ends.
        clock: tells the time, s.
        called_off: tells whether nobody waits for the plan any more; then there is no time.
    """

    def __init__(
        self,
        seconds: float | None,
        clock: Callable[[], float] = time.perf_counter,
        called_off: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clock, self._called_off = clock, called_off
        self._end = None if seconds is None else clock() + seconds
        self._slowest = 0.0

    def reserve(self, seconds: float) -> None:
        """Leave so much time, s, for what comes after the search."""
        if self._end is not None:
            self._end -= seconds

    @property
    def has_time(self) -> bool:
        """Whether a round as long as the slowest so far would end in time, and someone waits for it."""
        if self._called_off():
            return False
        return self._end is None or self._clock() + self._slowest <= self._end

    def rounds(self, count: int) -> Iterator[int]:
        """Yield 0 .. count - 1, ending early when there is no time for another.

        The first round is always played: there is no plan without it.
        """
        for number in range(count):
            if number and not self.has_time:
                return
            started = self._clock()
            yield number
            self._slowest = max(self._slowest, self._clock() - started)


class Planner(ABC):
    """Searches a space of plans for those of lowest predicted cost, for all starts at once.

    What it draws is the same for every start, so that a start's plan does not depend on those beside it.

    Attributes:
        space: the plans among which it chooses.
    """

    def __init__(self, *, space: PlanSpace) -> None:
        self.space = space

    @abstractmethod
    def plan(
        self,
        problem: Problem,
        *,
        generator: torch.Generator,
        warm: Tensor | None = None,
        deadline: Deadline | None = None,
    ) -> Plan:
        """Plan from every start.

        Args:
            generator: makes every draw, on the device of the bounds.
            warm: plans to begin with, `[B, H, K, A]`, such as the rest of the last ones.
            deadline: when to answer with the best plans so far.

        Raises:
            WorldModelError: a cost is not finite; names the round, the start and the candidate.
        """

    def _beginning(self, problem: Problem, warm: Tensor | None) -> Tensor:
        """Return where to begin, `[B, H, K, A]`: `warm` within the bounds, or else their middle."""
        return self.space.middle(problem.starts) if warm is None else self.space.clamp(warm)


class Best:
    """Keeps the cheapest plan of each start.

    Args:
        plans: what to answer with until a candidate was judged, `[B, H, K, A]`.
    """

    def __init__(self, plans: Tensor) -> None:
        self.actions = plans
        self.cost = torch.full((len(plans),), torch.inf, device=plans.device)
        self._history: list[Tensor] = []

    def update(self, candidates: Tensor, costs: Tensor) -> None:
        """Take notice of a round: candidates `[B, N, H, K, A]` and their costs `[B, N]`."""
        cheapest, index = costs.min(1)
        better = cheapest < self.cost
        chosen = candidates[torch.arange(len(candidates), device=index.device), index]
        self.actions = torch.where(better[:, None, None, None], chosen, self.actions)
        self.cost = torch.where(better, cheapest, self.cost)
        self._history.append(self.cost)

    def plan(self) -> Plan:
        return Plan(self.actions, self.cost, torch.stack(self._history))


def pick(candidates: Tensor, index: Tensor) -> Tensor:
    """Return candidates `[B, E, H, K, A]` out of `[B, N, H, K, A]` by their numbers `[B, E]`."""
    return candidates.gather(1, index[..., None, None, None].expand(-1, -1, *candidates.shape[2:]))
