"""A goal, and the way there: search, show what was found, do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.envs.world import State
from worldmodel.errors import WorldModelError
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import LatentMap, picture_latents
from worldmodel.viewing.live.commands import Settings
from worldmodel.viewing.live.messages import pngs, rounded
from worldmodel.viewing.search import Found, Round, Search

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
    longest = trained.model.longest_clip - trained.visible
    if settings.horizon > longest:
        raise WorldModelError(f"horizon is {settings.horizon}; expected 1 to {longest}, as the model was trained.")
    base = CEMConfig()
    cem = CEMConfig(
        candidates=settings.samples,
        rounds=base.rounds,
        elites=min(base.elites, settings.samples),
    )
    return PlanningConfig(horizon=settings.horizon, history=trained.visible, cem=cem)


class Pursuit:
    """One errand, from the first search to the last frame.

    Attributes:
        phase: what comes next.
        done: frames acted so far.

    Args:
        seen, blocks, felt: latents of what was seen last, the blocks between, and what was felt then, to plan from.
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
    ) -> None:
        self.goal, self.phase = goal, "searching"
        self.done = 0
        self._replan, self._trained, self._chart = settings.replan, trained, chart
        self._search = Search(
            planning_config(trained, settings), model=trained.model, compute=trained.compute, goal=goal.latent
        )
        self._rounds: list[Round] = []
        self._found = self._search(seen, blocks, self._rounds.append, felt=felt)
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
        return self._chosen(self._found) | {"frames": pngs(self._pictures(self._found.latents))}

    def next_block(self, seen: Tensor, blocks: Tensor, felt: Tensor) -> Tensor:
        """Return the block to do now, `[K, A]`: of a new plan, or of the one plan."""
        if self._replan and self.done:
            self._found = self._search(seen, blocks, felt=felt)
        block = self._found.blocks[0 if self._replan else self.done]
        self.done += 1
        if self.done == self.budget:
            self.phase = "done"
        return block

    def course(self) -> dict[str, Any]:
        """Return where the plan being done is expected to lead."""
        return self._chosen(self._found)

    def _described(self, shown: Round) -> dict[str, Any]:
        cheap = shown.cost.argsort()
        # Of all, evenly from the cheapest to the dearest: a few hundred paths are a blot.
        drawn = cheap[torch.linspace(0, len(cheap) - 1, min(PATHS, len(cheap))).round().long()]
        ends = shown.latents[shown.elites[:ENDS], -1]
        return {
            "paths": self._flat(shown.latents[drawn]),
            "elites": self._flat(shown.latents[shown.elites]),
            "best": round(float(shown.cost.min()), 4),
            "mean": round(float(shown.cost.mean()), 4),
            "ends": pngs(self._pictures(ends)),
        }

    def _chosen(self, found: Found) -> dict[str, Any]:
        return {"path": self._flat(found.latents), "cost": round(found.cost, 4)}

    def _pictures(self, latents: Tensor) -> NDArray[np.uint8]:
        return picture_latents(self._trained.model, latents, self._trained.compute)

    def _flat(self, latents: Tensor) -> Any:
        return rounded(self._chart.project(latents.float().cpu().numpy()), 3)
