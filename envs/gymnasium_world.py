"""Any gymnasium environment that keeps a MuJoCo model and data, as a world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np

from worldmodel.envs.world import Action, Outcome, World
from worldmodel.errors import WorldModelError


class GymnasiumWorld(World):
    """Drive a gymnasium environment by its own `reset` and `step`, so that its rules hold.

    Args:
        env_id: a registered gymnasium id.

    Raises:
        WorldModelError: the environment has no MuJoCo model, or its actions are not a bounded box.
    """

    def __init__(self, env_id: str) -> None:
        self._env: gymnasium.Env[Any, Any] = gymnasium.make(env_id)
        try:
            self._adopt(env_id)
        except BaseException:
            self._env.close()
            raise

    def _adopt(self, env_id: str) -> None:
        base: Any = self._env.unwrapped
        model, data = getattr(base, "model", None), getattr(base, "data", None)
        if not isinstance(model, mujoco.MjModel) or not isinstance(data, mujoco.MjData):
            raise WorldModelError(
                f"Environment '{env_id}' has no MuJoCo model and data (`env.unwrapped.model`, `.data`). "
                "Choose an environment that MuJoCo simulates."
            )
        space = self._env.action_space
        if not isinstance(space, gymnasium.spaces.Box) or not space.is_bounded() or len(space.shape) != 1:
            raise WorldModelError(f"Environment '{env_id}' has actions {space}; expected a bounded Box of one axis.")
        self.model, self.data = model, data
        self.low, self.high = space.low.astype(np.float32), space.high.astype(np.float32)
        self._space = space
        self._drawable = mujoco.MjData(model)
        self.camera = "track" if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, "track") >= 0 else ""
        self._base = base

    @property
    def control_seconds(self) -> float:
        return float(self._base.dt)

    @property
    def mjcf(self) -> str:
        path = getattr(self._base, "fullpath", "")
        return Path(path).read_text(encoding="utf-8") if path else ""

    def reset(self, rng: np.random.Generator) -> None:
        self._env.reset(seed=int(rng.integers(2**31)))

    def step(self, action: Action) -> Outcome:
        space = self._space
        _, reward, terminated, truncated, _ = self._env.step(np.clip(action, space.low, space.high, dtype=space.dtype))
        return Outcome(float(reward), bool(terminated), bool(truncated))

    def drawable(self) -> mujoco.MjData:
        """Return a copy, brought up to date.

        The environment's own data stays as its `step` left it, one physics step behind: some rewards (Ant's,
        Humanoid's) are differences of such positions.
        """
        mujoco.mj_copyState(self.model, self.data, self._drawable, mujoco.mjtState.mjSTATE_INTEGRATION.value)
        mujoco.mj_forward(self.model, self._drawable)
        return self._drawable

    def close(self) -> None:
        self._env.close()
