"""A task as a gymnasium environment: observe an image, be shown an image of the goal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.proprioception import Proprioception, proprioception_of
from worldmodel.envs.registry import make_task
from worldmodel.envs.renderer import Frame, Quality
from worldmodel.envs.views import ViewsRenderer
from worldmodel.envs.world import Action, State
from worldmodel.errors import WorldModelError


class Observation(TypedDict):
    """What the robot sees, `image` and `goal`, each `[H, W, 3]` uint8, and feels, `proprioception`, `[P]` float32."""

    image: Frame
    goal: NotRequired[Frame]
    proprioception: NotRequired[NDArray[np.float32]]


def check_action(action: Action, space: gymnasium.Space[Any]) -> None:
    """Refuse an action of another shape than those of `space`, or that is not finite."""
    if np.shape(action) != space.shape or not np.isfinite(action).all():
        raise WorldModelError(f"Action {action} is not one of {space}: expected finite numbers in it.")


class GoalEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One of our tasks, with its goal told only by an image.

    The reward is minus the distance to the goal, in the task's unit; `info` has `distance` and `success`.
    Reaching the goal does not end an episode: to stay there is part of the task.

    Args:
        task: a name in `registry.TASKS`.
        size: height and width of a camera's view, pixels.
        render_mode: "rgb_array", or None.
        cameras: who films, the leftmost view of an image first; none takes the task's own.
        proprioception: show also what the robot feels of its own joints.
        quality: "fast" or "faithful", as images are drawn.
        arguments: the task's configuration, a JSON object: '{"variation": {"light": 1}}'.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012  as gymnasium declares it

    def __init__(
        self,
        task: str,
        size: int = 64,
        render_mode: str | None = None,
        arguments: str = "{}",
        cameras: Sequence[str] = (),
        proprioception: bool = False,
        quality: Quality = "fast",
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise WorldModelError(f"Unknown render_mode '{render_mode}'. Valid: 'rgb_array', None.")
        self.task = make_task(task, arguments)
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": round(1 / self.task.control_seconds)}
        self.model, self.data = self.task.model, self.task.data
        self.cameras, self.quality = tuple(cameras) or (self.task.camera,), quality
        shape = (size, size * len(self.cameras), 3)
        self._renderer = ViewsRenderer(self.cameras, *shape[:2], quality=quality, model=self.task.model)
        self.proprioception = proprioception_of(self.task.model) if proprioception else Proprioception()
        image = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        spaces: dict[str, gymnasium.spaces.Space[Any]] = {"image": image, "goal": image}
        if proprioception:
            spaces["proprioception"] = gymnasium.spaces.Box(-np.inf, np.inf, (self.proprioception.size,), np.float32)
        self.observation_space = gymnasium.spaces.Dict(spaces)  # type: ignore[assignment]
        self.action_space = gymnasium.spaces.Box(self.task.low, self.task.high, dtype=np.float32)
        self._steps = 0
        self._goal: State | None = None
        self._goal_image: Frame = np.zeros(shape, np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: makes start and goal repeatable.
            options: may hold `start` and `goal`, each a `State`, in place of random ones.
        """
        super().reset(seed=seed)
        options = options or {}
        unknown = set(options) - {"start", "goal"}
        if unknown:
            raise WorldModelError(f"Unknown reset options {sorted(unknown)}. Valid: 'start', 'goal'.")
        self.task.reset(self.np_random)
        start = options.get("start") or self.task.state()
        goal = self.task.sample_goal(self.np_random, start)
        self._goal = options.get("goal") or goal
        self.task.set_state(self._goal)
        self._goal_image = self._renderer.draw(self.data)
        self.task.set_state(start)
        self._steps = 0
        return self._observe(), self._info()

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        check_action(action, self.action_space)
        self.task.step(action)
        self.task.check_alive()
        self._steps += 1
        info = self._info()
        return self._observe(), -info["distance"], False, self._steps >= self.task.max_steps, info

    def render(self) -> Frame:
        return self._renderer.draw(self.data)

    def close(self) -> None:
        self._renderer.close()

    def _observe(self) -> Observation:
        seen: Observation = {"image": self._renderer.draw(self.data), "goal": self._goal_image.copy()}
        if self.proprioception.size:
            seen["proprioception"] = self.proprioception(self.data.qpos, self.data.qvel)
        return seen

    def _info(self) -> dict[str, Any]:
        if self._goal is None:
            raise WorldModelError("The environment has no goal yet: call reset() before step().")
        distance = self.task.distance(self.task.state(), self._goal)
        return {"distance": distance, "success": distance <= self.task.tolerance}
