"""OGBench's environments, without the pictures that they draw for themselves."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np

from worldmodel.envs.gl import opengl_hidden
from worldmodel.envs.gymnasium_world import GymnasiumWorld
from worldmodel.envs.renderer import Frame
from worldmodel.envs.world import Action, Outcome


class OGBenchWorld(GymnasiumWorld):
    """Drive an OGBench environment and film it from where its own `render()` does.

    The `visual-*` environments draw a picture at each step, which takes a hundred times as long as the step. Here
    they draw none: model, looks, camera, rewards and ends are their own, only their observation is None.

    Args:
        env_id: an id that OGBench registers, such as "visual-cube-single-v0".
        arguments: handed to the environment's constructor.
    """

    def __init__(self, env_id: str, arguments: Mapping[str, Any]) -> None:
        with opengl_hidden(), _nothing_drawn():
            super().__init__(env_id, arguments)

    @property
    def _sees_pixels(self) -> bool:
        spec = self._env.spec
        return spec is not None and spec.kwargs.get("ob_type") == "pixels"

    def reset(self, rng: np.random.Generator) -> None:
        """Start an episode, cleared of what rehearsal steps with unseeded actions left in the solver."""
        with warnings.catch_warnings():  # about the type of its action space's bounds
            warnings.simplefilter("ignore")
            super().reset(rng)
        self.data.qacc_warmstart[:] = 0
        self.data.ctrl[:] = 0
        if self._sees_pixels:
            self.observation = None

    def step(self, action: Action) -> Outcome:
        outcome = super().step(action)
        if self._sees_pixels:
            self.observation = None
        return outcome

    def viewpoint(self, name: str) -> mujoco.MjvCamera:
        """Return the camera `name`, or for "" the view from above that the mazes' own `render()` shows."""
        own = self._part("custom_camera", None)
        return own if not name and isinstance(own, mujoco.MjvCamera) else super().viewpoint(name)

    def _own_camera(self) -> str:
        own = self._part("custom_camera", None)
        if isinstance(own, mujoco.MjvCamera):
            return ""
        return own or ("front_pixels" if self._sees_pixels else "front")


class _NoPictures:
    """What OGBench uses of `mujoco.Renderer`, and draws nothing."""

    def __init__(self, model: mujoco.MjModel, height: int, width: int) -> None:
        self._blank = np.zeros((height, width, 3), np.uint8)

    def update_scene(self, data: mujoco.MjData, camera: Any, scene_option: Any = None) -> None:
        """Prepare nothing."""

    def disable_depth_rendering(self) -> None:
        """Stay as it is."""

    def disable_segmentation_rendering(self) -> None:
        """Stay as it is."""

    def render(self) -> Frame:
        return self._blank

    def close(self) -> None:
        """Free nothing."""


@contextmanager
def _nothing_drawn() -> Iterator[None]:
    """Give environments made meanwhile a renderer that draws nothing; OGBench has no switch for that."""
    before = mujoco.Renderer
    mujoco.Renderer = _NoPictures
    try:
        yield
    finally:
        mujoco.Renderer = before
