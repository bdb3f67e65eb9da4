"""Watch a planner search. All that viewing knows of planning's inside is in this file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.models.guides import Guides
from worldmodel.models.imagination import Imagination
from worldmodel.models.world_model import WorldModel
from worldmodel.planning.cost import PlanCost
from worldmodel.planning.planner import PlanSpace, Problem
from worldmodel.planning.policy import PlanningConfig
from worldmodel.planning.registry import make_planner
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

    Shapes: C remembered frames, N candidates, H blocks in a plan, K control steps in a block, A actuators, D latent, P
    numbers felt.

    Args:
        goal: latent of the goal `[D]`.
        seed: makes the plans repeatable.
        guides: networks that propose plans and tell distances, where the planner or the cost needs them.
    """

    def __init__(
        self,
        config: PlanningConfig,
        *,
        model: WorldModel,
        compute: Compute,
        goal: Tensor,
        seed: int = 0,
        guides: Guides | None = None,
    ) -> None:
        steps = model.interface.steps_per_frame
        self._hold = config.hold or steps
        self.config, self._goal, self._guides = config, goal[None], guides
        self._space = PlanSpace(model.low, model.high, config.horizon, steps // self._hold)
        self._planner = make_planner(config.planner, config, self._space)
        self._imagination = Imagination(model, hold=self._hold, dtype=torch.bfloat16 if compute.bf16 else torch.float32)
        self._generator = torch.Generator(compute.device).manual_seed(seed)
        between = guides.steps_between if guides else None
        self._cost = PlanCost(config.cost, goal=self._goal, low=model.low, high=model.high, steps_between=between)
        self._warm: Tensor | None = None

    @torch.no_grad()
    def __call__(
        self,
        latents: Tensor,
        blocks: Tensor,
        watch: Callable[[Round], None] = lambda found: None,
        *,
        felt: Tensor | None = None,
    ) -> Found:
        """Search from the present; each search begins with the rest of the plan before it.

        Args:
            latents: of the remembered frames `[C, D]`, the present one last.
            blocks: between them, `[C - 1, K, A]`, in the actuators' units.
            watch: is shown each round.
            felt: `[C, P]`, what the robot felt at these frames; None where nobody knows it.
        """
        known = None if felt is None else felt[None]
        memory = self._imagination.remember(latents[None], blocks[None, :, :: self._hold], known)
        cheapest = self.config.cem.elites

        def rollout(actions: Tensor) -> Tensor:
            return self._imagination.imagine(memory, actions)

        def cost(imagined: Tensor, actions: Tensor) -> Tensor:
            costs = self._cost(imagined, actions)
            elites = costs[0].topk(min(cheapest, costs.shape[1]), largest=False).indices
            watch(Round(actions[0].detach(), imagined[0].detach(), costs[0].detach(), elites))
            return costs

        problem = Problem(rollout, cost, 1, self._proposals(latents))
        plan = self._planner.plan(problem, generator=self._generator, warm=self._warm)
        imagined = rollout(plan.actions[:, None])[0, 0]
        self._warm = torch.cat([plan.actions[:, 1:], plan.actions[:, -1:]], dim=1)
        return Found(plan.actions[0].repeat_interleave(self._hold, dim=1), imagined, float(plan.cost[0]))

    def _proposals(self, latents: Tensor) -> Tensor | None:
        if self._guides is None or self.config.planner != "proposal":
            return None
        before = latents[-2] if len(latents) > 1 else latents[-1]
        return self._guides.propose(before[None], latents[-1][None], self._goal, self._space.shape)
