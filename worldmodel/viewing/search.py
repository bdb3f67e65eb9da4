"""Watch a planner search. All that viewing knows of planning's inside is in this file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.models.world_model import WorldModel
from worldmodel.planning.cem import CEMPlanner
from worldmodel.planning.cost import GoalCost
from worldmodel.planning.policy import PlanningConfig
from worldmodel.training.device import Compute


@dataclass(frozen=True)
class Round:
    """What the planner tried in one round.

    Attributes:
        actions: `[N, H, K', A]`, the candidates, in the actuators' units; K' numbers are held over a block.
        latents: `[N, H, D]`, where each is expected to lead.
        cost: `[N]`, as predicted.
        elites: `[E]` int64, the cheapest, the best first.
    """

    actions: Tensor
    latents: Tensor
    cost: Tensor
    elites: Tensor


@dataclass(frozen=True)
class Found:
    """The best plan of a search.

    Attributes:
        blocks: `[H, K, A]`, in the actuators' units.
        latents: `[H, D]`, where it is expected to lead.
        cost: as predicted.
    """

    blocks: Tensor
    latents: Tensor
    cost: float


class Search:
    """Plan for one robot and let someone watch; the same search as `planning.policy.PlanningPolicy`'s.

    Shapes: C remembered frames, N candidates, H blocks in a plan, K control steps in a block, A actuators, D latent.

    Args:
        goal: latent of the goal `[D]`.
        seed: makes the plans repeatable.
    """

    def __init__(
        self, config: PlanningConfig, *, model: WorldModel, compute: Compute, goal: Tensor, seed: int = 0
    ) -> None:
        steps = model.interface.steps_per_frame
        self._hold = config.hold or steps
        self.config, self._model, self._compute = config, model, compute
        self._planner = CEMPlanner(config.cem, low=model.low, high=model.high, steps=steps // self._hold)
        self._generator = torch.Generator(compute.device).manual_seed(seed)
        self._cost = GoalCost(config.cost, goal=goal[None])
        self._warm: Tensor | None = None

    @torch.inference_mode()
    def __call__(self, latents: Tensor, blocks: Tensor, watch: Callable[[Round], None] = lambda found: None) -> Found:
        """Search from the present; each search begins with the rest of the plan before it.

        Args:
            latents: of the remembered frames `[C, D]`, the present one last.
            blocks: between them, `[C - 1, K, A]`, in the actuators' units.
            watch: is shown each round.
        """
        model, hold, tried = self._model, self._hold, []

        def rollout(actions: Tensor) -> Tensor:
            tried.append(actions[0])
            return model.imagine(memory, actions.repeat_interleave(hold, dim=3))

        def cost(imagined: Tensor) -> Tensor:
            costs = self._cost(imagined)
            elites = costs[0].topk(self.config.cem.elites, largest=False).indices
            watch(Round(tried.pop(), imagined[0], costs[0], elites))
            return costs

        with self._compute.autocast():
            memory = model.remember(latents[None], blocks[None])
            plan = self._planner.plan(rollout, cost, starts=1, generator=self._generator, warm=self._warm)
            imagined = rollout(plan.actions[:, None])[0, 0]
        self._warm = torch.cat([plan.actions[:, 1:], plan.actions[:, -1:]], dim=1)
        return Found(plan.actions[0].repeat_interleave(hold, dim=1), imagined, float(plan.cost[0]))
