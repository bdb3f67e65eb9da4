"""Any gymnasium environment that keeps a MuJoCo model and data, as a world."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.random.mtrand import get_bit_generator, set_bit_generator

from worldmodel.envs.world import Action, Outcome, World
from worldmodel.errors import WorldModelError

Holding = tuple[mujoco.MjModel, mujoco.MjData]


class GymnasiumWorld(World):
    """Drive a gymnasium environment by its own `reset` and `step`, so that its rules hold.

    It is filmed by the camera that the environment asks for, else by the model's camera "track", else from the
    view that the environment's own `render()` shows.

    Args:
        env_id: a registered gymnasium id.
        arguments: handed to the environment's constructor.

    Raises:
        WorldModelError: the environment has no MuJoCo model, or its actions are not a bounded box.
    """

    def __init__(self, env_id: str, arguments: Mapping[str, Any]) -> None:
        self._name = env_id
        self._draws: np.random.BitGenerator = np.random.MT19937(0)
        self._env: gymnasium.Env[Any, Any] = gymnasium.make(env_id, disable_env_checker=True, **arguments)
        self._before_render: Any = self._part("_render_callback", None)
        try:
            self._adopt()
        except BaseException:
            self._env.close()
            raise

    def _adopt(self) -> None:
        self.reset(np.random.default_rng(0))
        space = self._env.action_space
        if not isinstance(space, gymnasium.spaces.Box) or not space.is_bounded() or len(space.shape) != 1:
            raise WorldModelError(
                f"Environment '{self._name}' has actions {space}; expected a bounded Box of one axis."
            )
        self.low, self.high = space.low.astype(np.float32), space.high.astype(np.float32)
        self._space = space
        self._lookat = np.median(self.drawable().geom_xpos, axis=0)
        self.camera = self._own_camera()
        path = Path(str(self._part("fullpath", "")))
        self._mjcf = path.read_text(encoding="utf-8") if path.is_file() else last_xml(self.model)
        self._control_seconds = self._measure_control_step()

    @property
    def control_seconds(self) -> float:
        return self._control_seconds

    @property
    def mjcf(self) -> str:
        return self._mjcf

    def reset(self, rng: np.random.Generator) -> None:
        seed = int(rng.integers(2**31))
        self._draws = np.random.MT19937(seed)
        with self._global_draws():
            self.observation, _ = self._env.reset(seed=seed)
        self.hold(*self._find())
        self._place_goal()

    def step(self, action: Action) -> Outcome:
        space = self._space
        inside = np.clip(action, space.low, space.high, dtype=space.dtype)
        with self._global_draws():
            self.observation, reward, terminated, truncated, _ = self._env.step(inside)
        self._place_goal()
        return Outcome(float(reward), bool(terminated), bool(truncated))

    def viewpoint(self, name: str) -> mujoco.MjvCamera:
        """Return the camera `name`, or for "" the view that the environment's own `render()` shows.

        Where that follows from where things are, it is the one of an episode of seed 0, for all episodes.
        """
        renderer = self._part("mujoco_renderer", None)
        if name or renderer is None:
            return super().viewpoint(name)
        camera = mujoco.MjvCamera()
        camera.lookat = self._lookat
        camera.distance = self.model.stat.extent
        for field, value in (renderer.default_cam_config or {}).items():
            setattr(camera, field, value)
        fixed = renderer.camera_id >= 0
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED if fixed else mujoco.mjtCamera.mjCAMERA_FREE
        camera.fixedcamid = renderer.camera_id
        return camera

    def close(self) -> None:
        self._env.close()

    def _place_goal(self) -> None:
        """Put what shows the goal in its place, as gymnasium-robotics does only when its own `render()` is called."""
        if self._before_render is not None:
            self._before_render()

    @contextmanager
    def _global_draws(self) -> Iterator[None]:
        """Give numpy's global generator to the environment: OGBench draws from it, whatever the seed says."""
        before = get_bit_generator()
        set_bit_generator(self._draws)
        try:
            yield
        finally:
            set_bit_generator(before)

    def _own_camera(self) -> str:
        renderer = self._part("mujoco_renderer", None)
        if renderer is not None and renderer.camera_id >= 0:
            return str(self.model.camera(renderer.camera_id).name)
        return "track" if mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_CAMERA, "track") >= 0 else ""

    def _measure_control_step(self) -> float:
        """Take a step and see how much time passes: not every environment tells."""
        before, timestep = self.data.time, self.model.opt.timestep
        self.step(np.zeros_like(self.low))
        steps = round((self.data.time - before) / timestep)
        if steps < 1:
            raise WorldModelError(f"Environment '{self._name}' does not advance its MuJoCo simulation in a step.")
        self.reset(np.random.default_rng(0))
        return float(timestep * steps)

    def _parts(self) -> list[Any]:
        """Return the environment and those that it drives, as gymnasium-robotics' mazes drive an ant."""
        base = self._env.unwrapped
        return [base, *(part for part in vars(base).values() if isinstance(part, gymnasium.Env))]

    def _part(self, attribute: str, default: Any) -> Any:
        return next((getattr(part, attribute) for part in self._parts() if hasattr(part, attribute)), default)

    def _find(self) -> Holding:
        for part in self._parts():
            for names in (("model", "data"), ("_model", "_data")):
                model, data = (getattr(part, name, None) for name in names)
                if isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData):
                    return model, data
        raise WorldModelError(
            f"Environment '{self._name}' has no MuJoCo model and data (`env.unwrapped.model`, `.data`). "
            "Choose an environment that MuJoCo simulates."
        )


def last_xml(model: mujoco.MjModel) -> str:
    """Return `model` as MJCF, or "" if it is not the one that this process has compiled last."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        try:
            mujoco.mj_saveLastXML(str(path), model)
        except mujoco.FatalError:
            return ""
        return path.read_text(encoding="utf-8")
