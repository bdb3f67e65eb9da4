"""Control by planning: look, imagine, act a little, look again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.models.imagination import Imagination
from worldmodel.models.world_model import WorldModel
from worldmodel.planning.cost import CostConfig, PlanCost
from worldmodel.planning.planner import Deadline, Plan, PlanSpace, Problem, Round
from worldmodel.planning.registry import PlannerConfigs, PlannerName, make_planner
from worldmodel.training.device import Compute


@dataclass(frozen=True)
class PlanningConfig(PlannerConfigs):
    """How to plan.

    Attributes:
        planner: who searches.
        horizon: H, action blocks in a plan.
        history: frames that are remembered, the present one among them; no more than were visible in training. 0
            remembers as many as were, and as fit beside the horizon.
        hold: control steps for which a planned action is held, a divisor of those between two frames. 0 holds none of a
            proposal's, which come as the recording acted (held, on Cube, 69 % of goals in place of 79), and others' for
            all of them: training blocks come from smooth noise; candidates that change at each step look like
            nothing the model has seen, and it errs on them: on the reacher, success fell from 52 to 32 %.
        budget_ms: time in which a plan must be there, ms, encoding included: the best one so far is taken. Robots that
            are planned for together, as all trials of an evaluation are, share it. Results then depend on the speed of
            the machine. 0 lets the search play all its rounds.
    """

    planner: PlannerName = "proposal"
    horizon: int = 5
    history: int = 0
    hold: int = 0
    budget_ms: float = 0.0
    cost: CostConfig = field(default_factory=CostConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.budget_ms < float("inf"):
            raise WorldModelError(f"budget_ms is {self.budget_ms}; expected 0 (no limit) or more.")


@dataclass(frozen=True)
class Decision:
    """What to do next.

    Attributes:
        actions: `[B, K, A]`, the first block of the plan, in the actuators' units.
        plan: the whole plan.
        imagined: `[B, H, D]`, the latents that the plan is expected to lead to.
        seconds: wall-clock time that the plan took, s; `model_seconds` of it in encoding and imagining (gradients
            through the model not counted).
    """

    actions: Tensor
    plan: Plan
    imagined: Tensor
    seconds: float
    model_seconds: float


class PlanningPolicy:
    """Replan at every frame, from what was seen and done, for B robots at once.

    Shapes: B robots, K control steps in a block, A actuators, H blocks in a plan, D latent, P numbers felt.

    Args:
        model: the world model, ready to use.
        compute: device and precision; the model is moved there.
        seed: makes the plans repeatable.

    Raises:
        WorldModelError: a setting does not fit the model, or the cost weighs what the model has not learned.
    """

    def __init__(self, config: PlanningConfig, *, model: WorldModel, compute: Compute, seed: int) -> None:
        steps = model.interface.steps_per_frame
        self._hold = config.hold or (1 if config.planner == "proposal" else steps)
        if self._hold < 1 or steps % self._hold:
            raise WorldModelError(
                f"hold is {config.hold}; expected 0 or a divisor of the model's {steps} control steps between frames."
            )
        positions = model.longest_clip
        if not 1 <= config.horizon < positions:
            raise WorldModelError(
                f"horizon is {config.horizon}; expected 1 to {positions - 1}: with one frame to plan from it must fit "
                f"the {positions} frames that the model was trained on."
            )
        longest = min(model.most_visible, positions - config.horizon)
        if not 0 <= config.history <= longest:
            raise WorldModelError(
                f"history is {config.history}; expected 1 to {longest}, or 0 for as many: up to {model.most_visible} "
                f"frames were visible in training, and with the horizon of {config.horizon} it must fit the "
                f"{positions} frames of its clips."
            )
        self._history = config.history or longest
        _check_learned(config.cost, model)
        if config.planner == "proposal" and not config.cost.asks_for_goal:
            raise WorldModelError(
                "The planner 'proposal' proposes ways to a goal, and the cost weighs none; expected a weight for "
                "cost.away, cost.last, cost.least or cost.steps, or a planner that needs no goal, such as "
                "cem, icem or mppi."
            )
        self.config, self._model, self._compute = config, model.to(compute.device), compute
        self._generator = torch.Generator(compute.device).manual_seed(seed)
        self._space = PlanSpace(model.low, model.high, config.horizon, steps // self._hold)
        self._planner = make_planner(config.planner, config, self._space)
        self._imagination = Imagination(model, hold=self._hold, dtype=compute.dtype)
        self._forget()

    @torch.no_grad()
    def reset(self, goals: Tensor | None = None) -> None:
        """Begin episodes with these goal images, `[B, H, W, 3]` uint8; without any where the cost weighs no goal.

        Raises:
            WorldModelError: the cost asks for a goal, and there is none.
        """
        if goals is None and self.config.cost.asks_for_goal:
            raise WorldModelError(
                "The cost weighs the way to a goal, and no goal images were given. Give some to reset, or set the "
                "weights cost.away, cost.last, cost.least and cost.steps to 0, beside one for cost.reward."
            )
        self._forget()
        if goals is not None:
            self.aim(goals)

    def _forget(self) -> None:
        self._goal: Tensor | None = None
        self._latents: list[Tensor] = []
        self._felt: list[Tensor] = []
        self._blocks: list[Tensor] = []
        self._warm: Tensor | None = None

    @torch.no_grad()
    def aim(self, goals: Tensor) -> None:
        """Take other goal images, `[B, H, W, 3]` uint8, in the midst of the episodes."""
        with self._compute.autocast():
            self._goal = self._model.encode(goals.to(self._compute.device))

    @torch.no_grad()
    def __call__(
        self, frames: Tensor, felt: Tensor | None = None, *, watch: Callable[[Round], None] | None = None
    ) -> Decision:
        """Decide from the present frames. The first block of the decision must then be done.

        Args:
            frames: `[B, H, W, 3]` uint8.
            felt: `[B, P]` float32, what the robots feel of their joints now, in physical units; needed by a model with
                proprioception, and by no other.
            watch: is shown each round of the search.

        Raises:
            WorldModelError: the cost weighs a goal and there is none, the robots are not as many as were given goals
                or seen before, the model has proprioception and nothing is felt, or what is not a finite number.
        """
        self._check_robots(len(frames))
        if felt is None and self._model.interface.proprioception:
            raise WorldModelError(
                f"This model was trained with proprioception: beside frames it needs the "
                f"{self._model.interface.proprioception} numbers that the robot feels. proprioception_of reads them."
            )
        started = time.perf_counter()
        deadline = Deadline(self.config.budget_ms / 1000 if self.config.budget_ms else None)
        if felt is not None and not torch.isfinite(felt).all():
            raise WorldModelError(f"What the robots feel is {felt.tolist()}; expected finite numbers.")
        with self._compute.autocast():
            latents = self._model.encode(frames.to(self._compute.device))
        self._compute.wait()
        encoding = time.perf_counter() - started
        self._latents = [*self._latents, latents][-self._history :]
        if felt is not None:
            self._felt = [*self._felt, felt.to(self._compute.device)][-self._history :]
        known = torch.stack(self._felt, 1) if self._felt else None
        count = len(self._latents) - 1
        past = torch.stack(self._blocks[-count:], 1) if count else self._nothing_done(len(frames))
        decision = self.decide(torch.stack(self._latents, 1), past, known, deadline=deadline, watch=watch)
        self._blocks = [*self._blocks, decision.actions][-self._history :]
        return replace(decision, seconds=time.perf_counter() - started, model_seconds=encoding + decision.model_seconds)

    @torch.no_grad()
    def decide(
        self,
        latents: Tensor,
        blocks: Tensor,
        felt: Tensor | None = None,
        *,
        deadline: Deadline | None = None,
        watch: Callable[[Round], None] | None = None,
    ) -> Decision:
        """Decide from what someone else has seen and done; the search begins with the rest of the plan before it.

        Args:
            latents: of the remembered frames, `[B, C, D]`, the present one last.
            blocks: that were done between them, `[B, C - 1, K, A]`, in the actuators' units; actions held as this
                policy holds them.
            felt: at those frames, `[B, C, P]`; None where nobody knows it, or the model has no proprioception.
            deadline: when to answer with the best plan so far.
            watch: is shown each round of the search.
        """
        started = time.perf_counter()
        deadline = deadline or Deadline(None)
        state = self._imagination.remember(latents, blocks[:, :, :: self._hold], felt)
        self._compute.wait()
        model_seconds = time.perf_counter() - started
        deadline.reserve(model_seconds)  # imagining the chosen plan, in the end, takes about as long

        def rollout(actions: Tensor) -> Tensor:
            nonlocal model_seconds
            began = time.perf_counter()
            imagined = self._imagination.imagine(state, actions)
            self._compute.wait()
            model_seconds += time.perf_counter() - began
            return imagined

        problem = Problem(rollout, self._cost(latents), len(latents), self._proposals(latents), watch)
        plan = self._planner.plan(problem, generator=self._generator, warm=self._warm, deadline=deadline)
        imagined = rollout(plan.actions[:, None])[:, 0]
        self._warm = torch.cat([plan.actions[:, 1:], plan.actions[:, -1:]], 1)
        block = plan.actions[:, 0].repeat_interleave(self._hold, dim=1)
        return Decision(block, plan, imagined, time.perf_counter() - started, model_seconds)

    def _cost(self, seen: Tensor) -> PlanCost:
        """Return what plans cost after the frames whose latents are `seen`, `[B, C, D]`."""
        model, hold = self._model, self._hold
        return PlanCost(
            self.config.cost,
            low=self._space.low,
            high=self._space.high,
            goal=self._goal,
            seen=seen,
            steps_between=model.steps_between,
            actions_between=model.actions_between,
            reward_of=lambda before, now, after, actions: model.reward_of(
                before, now, after, actions.repeat_interleave(hold, -2)
            ),
            disagreement_about=lambda before, now, actions: model.disagreement_about(
                before, now, actions.repeat_interleave(hold, -2)
            ),
        )

    def _check_robots(self, robots: int) -> None:
        if self._goal is None and self.config.cost.asks_for_goal:
            raise WorldModelError(
                "The cost weighs the way to a goal, and there is none yet. Begin with reset(goals): a picture for each "
                "robot."
            )
        known = {"goals": self._goal, "frames before": self._latents[-1] if self._latents else None}
        for what, held in known.items():
            if held is not None and len(held) != robots:
                raise WorldModelError(
                    f"There are frames of {robots} robots and {what} of {len(held)}; expected as many. Begin anew with "
                    "reset(goals)."
                )

    def _nothing_done(self, robots: int) -> Tensor:
        """Return no blocks, `[B, 0, K, A]`."""
        _, steps, actuators = self._space.shape
        return torch.zeros(robots, 0, steps * self._hold, actuators, device=self._compute.device)

    def _proposals(self, latents: Tensor) -> Tensor | None:
        if self.config.planner != "proposal" or self._goal is None:
            return None
        before = latents[:, max(0, latents.shape[1] - 2)]
        return self._model.propose(before, latents[:, -1], self._goal, horizon=self.config.horizon, hold=self._hold)


def _check_learned(cost: CostConfig, model: WorldModel) -> None:
    """Refuse to weigh what the model has not learned."""
    if cost.reward and not model.reward.known:
        raise WorldModelError(
            f"cost.reward is {cost.reward}, and this model knows no reward: its recording of "
            f"'{model.interface.env}' has none that varies, or its training stopped before the stage 'guide'. "
            "Record an environment with a reward, such as dm_control/cheetah-run or HalfCheetah-v5, and train on that; "
            "or set cost.reward to 0."
        )
    if cost.disagreement and not model.disagreement.known:
        raise WorldModelError(
            f"cost.disagreement is {cost.disagreement}, and this model has not learned it: its training stopped before "
            "the stage 'guide'. Finish it with the command that began it, or set cost.disagreement to 0."
        )
