"""Control by planning: look, imagine, act a little, look again."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.planning.cem import CEMConfig, CEMPlanner, Plan
from worldmodel.planning.cost import GoalCost, GoalCostConfig
from worldmodel.training.device import Compute


@dataclass(frozen=True)
class PlanningConfig:
    """How to plan.

    Attributes:
        history: frames that are remembered, the present one among them; no more than were visible in training.
        hold: control steps for which a planned action is held, a divisor of those between two frames; 0 holds it
            for all of them. Training blocks come from smooth noise; candidates that change at each step look like
            nothing the model has seen, and it errs on them: on the reacher, success fell from 52 to 32 %.
    """

    history: int = 3
    hold: int = 0
    cem: CEMConfig = field(default_factory=CEMConfig)
    cost: GoalCostConfig = field(default_factory=GoalCostConfig)


@dataclass(frozen=True)
class Decision:
    """What to do next.

    Attributes:
        actions: `[B, K, A]`, the first block of the plan, in the actuators' units.
        plan: the whole plan.
        imagined: `[B, H, D]`, the latents that the plan is expected to lead to.
    """

    actions: Tensor
    plan: Plan
    imagined: Tensor


class PlanningPolicy:
    """Replan at every frame, from what was seen and done, for B robots at once.

    Shapes: B robots, K control steps in a block, A actuators, H blocks in a plan, D latent.

    Args:
        model: the world model, ready to use.
        compute: device and precision.
        seed: makes the plans repeatable.
    """

    def __init__(self, config: PlanningConfig, *, model: WorldModel, compute: Compute, seed: int) -> None:
        steps = model.interface.steps_per_frame
        self._hold = config.hold or steps
        if self._hold < 1 or steps % self._hold:
            raise WorldModelError(
                f"hold is {config.hold}; expected 0 or a divisor of the model's {steps} control steps between frames."
            )
        positions = model.longest_clip
        if not 1 <= config.history <= positions - config.cem.horizon:
            raise WorldModelError(
                f"history is {config.history}; expected 1 to {positions - config.cem.horizon}: with the horizon of "
                f"{config.cem.horizon} it must fit the {positions} frames that the model was trained on."
            )
        self.config, self._model, self._compute = config, model, compute
        self._generator = torch.Generator(compute.device).manual_seed(seed)
        self._planner = CEMPlanner(config.cem, low=model.low, high=model.high, steps=steps // self._hold)

    @torch.inference_mode()
    def reset(self, goals: Tensor) -> None:
        """Begin episodes with these goal images, `[B, H, W, 3]` uint8."""
        with self._compute.autocast():
            goal = self._model.encode(goals.to(self._compute.device))
        self._cost = GoalCost(self.config.cost, goal=goal)
        self._latents: list[Tensor] = []
        self._blocks: list[Tensor] = []
        self._warm: Tensor | None = None

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Decision:
        """Decide from the present frames, `[B, H, W, 3]` uint8. The first block of the decision must then be done."""
        model, hold = self._model, self._hold
        with self._compute.autocast():
            self._latents = [*self._latents, model.encode(frames.to(self._compute.device))][-self.config.history :]
            memory = model.remember(torch.stack(self._latents, 1), self._past_blocks(len(frames)))

            def rollout(actions: Tensor) -> Tensor:
                return model.imagine(memory, actions.repeat_interleave(hold, dim=3))

            plan = self._planner.plan(
                rollout, self._cost, starts=len(frames), generator=self._generator, warm=self._warm
            )
            imagined = rollout(plan.actions[:, None])[:, 0]
        self._warm = torch.cat([plan.actions[:, 1:], plan.actions[:, -1:]], dim=1)
        block = plan.actions[:, 0].repeat_interleave(hold, dim=1)
        self._blocks.append(block)
        return Decision(block, plan, imagined)

    def _past_blocks(self, robots: int) -> Tensor:
        """Return the blocks between the remembered frames, `[B, C - 1, K, A]`."""
        count = len(self._latents) - 1
        if not count:
            interface = self._model.interface
            return torch.zeros(robots, 0, interface.steps_per_frame, len(interface.low), device=self._compute.device)
        return torch.stack(self._blocks[-count:], 1)
