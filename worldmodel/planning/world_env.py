"""Any world that was recorded, as a gymnasium environment that shows what a model was trained to see."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.goal_env import Observation, check_action
from worldmodel.envs.registry import make_world
from worldmodel.envs.world import Action
from worldmodel.errors import WorldModelError
from worldmodel.models.interface import Interface
from worldmodel.planning.sight import Sight


class WorldEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """The world that a model was trained in: one of dm_control, gymnasium or OGBench, a robot in an MJCF file, a task.

    Observations hold `image` and, for a model with proprioception, `proprioception`; no goal is shown. Rewards and
    ends are the world's own; what never ends by itself goes on until a `gymnasium.wrappers.TimeLimit` ends it.

    Args:
        interface: of the model; tells which world it is, and how it is seen.

    Raises:
        WorldModelError: the world cannot be made here; says why.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012  as gymnasium declares it

    def __init__(self, interface: Interface) -> None:
        self.interface, self.render_mode = interface, "rgb_array"
        self.world = make_world(interface.env, interface.env_arguments)
        self.metadata = {**self.metadata, "render_fps": round(1 / interface.control_seconds)}
        shape = (interface.height, interface.width, 3)
        spaces: dict[str, gymnasium.spaces.Space[Any]] = {"image": gymnasium.spaces.Box(0, 255, shape, np.uint8)}
        if interface.proprioception:
            spaces["proprioception"] = gymnasium.spaces.Box(-np.inf, np.inf, (interface.proprioception,), np.float32)
        self.observation_space = gymnasium.spaces.Dict(spaces)  # type: ignore[assignment]
        self.action_space = gymnasium.spaces.Box(self.world.low, self.world.high, dtype=np.float32)
        self._sight: Sight | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode, as the world does.

        Args:
            seed: makes it repeatable.
            options: none are known.
        """
        super().reset(seed=seed)
        if options:
            raise WorldModelError(f"Unknown reset options {sorted(options)}. Valid: none.")
        self.world.reset(self.np_random)
        return self._observe(), {}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        check_action(action, self.action_space)
        outcome = self.world.step(np.asarray(action, np.float32))
        self.world.check_alive()
        return self._observe(), outcome.reward, outcome.terminated, outcome.truncated, {}

    def render(self) -> NDArray[np.uint8]:
        return self._seeing().image()

    def close(self) -> None:
        if self._sight:
            self._sight.close()
        self.world.close()

    def _observe(self) -> Observation:
        seen: Observation = {"image": self._seeing().image()}
        if self.interface.proprioception:
            seen["proprioception"] = self._seeing().felt()
        return seen

    def _seeing(self) -> Sight:
        if self._sight is None:
            self._sight = Sight(self.interface, world=self.world)
        return self._sight
