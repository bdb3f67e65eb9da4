"""A goal, and the way there: search, show what was found, do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.envs.world import State
from worldmodel.errors import WorldModelError
from worldmodel.evenly import evenly
from worldmodel.planning.planner import Deadline, Round
from worldmodel.planning.policy import Decision, PlanningConfig, PlanningPolicy
from worldmodel.planning.proposal import ProposalConfig
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import LatentMap, picture_latents
from worldmodel.viewing.live.commands import Settings
from worldmodel.viewing.live.messages import pngs, rounded

PATHS = 80  # candidates of a round that are drawn
ENDS = 6  # elites of a round whose last frames are pictured
BUDGET = 3  # frames to act for, as a multiple of the horizon, when planning anew at each

Phase = Literal["searching", "showing", "acting", "done"]


@dataclass(frozen=True)
class Goal:
    """Where to go.

    Attributes:
        image: `[H, W, 3]` uint8.
        latent: `[D]`.
        state: physics, where the goal was recorded.
        name: for people.
    """

    image: NDArray[np.uint8]
    latent: Tensor
    state: State | None
    name: str


def planning_config(trained: Trained, settings: Settings) -> PlanningConfig:
    """Return how to plan.

    Raises:
        WorldModelError: horizon and remembered frames together are longer than the predictor.
    """
    longest = trained.model.longest_forecast
    if settings.horizon > longest:
        raise WorldModelError(f"horizon is {settings.horizon}; expected 1 to {longest}, as the model was trained.")
    cem = ProposalConfig().cem
    search = replace(cem, candidates=settings.samples, elites=min(cem.elites, settings.samples))
    return PlanningConfig(
        planner="proposal",
        horizon=settings.horizon,
        proposal=ProposalConfig(search=True, cem=search),
    )


class Pursuit:
    """One errand, from the first search to the last frame.

    Attributes:
        phase: what comes next.
        done: frames acted so far.

    Args:
        seen, blocks, felt: latents of what was seen last, the blocks between, and what was felt then, to plan from.
        called_off: tells whether the errand is to end, so that a search need not go on.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        goal: Goal,
        trained: Trained,
        chart: LatentMap,
        seen: Tensor,
        blocks: Tensor,
        felt: Tensor,
        called_off: Callable[[], bool],
    ) -> None:
        self.goal, self.phase = goal, "searching"
        self.done = 0
        self._replan, self._trained, self._chart = settings.replan, trained, chart
        self._called_off = called_off
        self._policy = PlanningPolicy(
            planning_config(trained, settings), model=trained.model, compute=trained.compute, seed=0
        )
        self._policy.reset(torch.from_numpy(goal.image[None]))
        self._rounds: list[Round] = []
        self._decision = self._decide(seen, blocks, felt)
        self._shown = 0
        self.budget = settings.horizon * (BUDGET if settings.replan else 1)

    phase: Phase

    def next_round(self) -> dict[str, Any]:
        """Return the next round to show."""
        shown = self._rounds[self._shown]
        self._shown += 1
        if self._shown == len(self._rounds):
            self.phase = "showing"
        return self._described(shown) | {"number": self._shown, "rounds": len(self._rounds)}

    def plan(self) -> dict[str, Any]:
        """Return the chosen future, frame by frame."""
        self.phase = "acting"
        return self.course() | {"frames": pngs(self._pictures(self._decision.imagined[0]))}

    def next_block(self, seen: Tensor, blocks: Tensor, felt: Tensor) -> Tensor:
        """Return the block to do now, `[K, A]`: of a new plan, or of the one plan."""
        if self._replan and self.done:
            self._decision = self._decide(seen, blocks, felt)
        block = self._decision.plan.actions[0, 0 if self._replan else self.done]
        self.done += 1
        if self.done == self.budget:
            self.phase = "done"
        return block.repeat_interleave(self._trained.model.interface.steps_per_frame // len(block), dim=0)

    def course(self) -> dict[str, Any]:
        """Return where the plan being done is expected to lead."""
        path = self._flat(self._decision.imagined[0])
        return {"path": path, "cost": round(float(self._decision.plan.cost[0]), 4)}

    def _decide(self, seen: Tensor, blocks: Tensor, felt: Tensor) -> Decision:
        self._rounds.clear()
        deadline = Deadline(None, called_off=self._called_off)
        return self._policy.decide(seen[None], blocks[None], felt[None], deadline=deadline, watch=self._rounds.append)

    def _described(self, shown: Round) -> dict[str, Any]:
        cost, latents = shown.cost[0], shown.latents[0]
        cheap = cost.argsort()
        # Of all, evenly from the cheapest to the dearest: a few hundred paths are a blot.
        drawn, elites = cheap[evenly(len(cheap), PATHS)], cheap[: shown.elites]
        return {
            "paths": self._flat(latents[drawn]),
            "elites": self._flat(latents[elites]),
            "best": round(float(cost.min()), 4),
            "mean": round(float(cost.mean()), 4),
            "ends": pngs(self._pictures(latents[elites[:ENDS], -1])),
        }

    def _pictures(self, latents: Tensor) -> NDArray[np.uint8]:
        return picture_latents(self._trained.model, latents, self._trained.compute)

    def _flat(self, latents: Tensor) -> Any:
        return rounded(self._chart.project(latents.float().cpu().numpy()), 3)
