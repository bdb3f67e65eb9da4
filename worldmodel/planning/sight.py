"""To see and feel a world as a model was trained to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.episodes import Film, FilmConfig
from worldmodel.datasets.schema import picture_column
from worldmodel.envs.channels import join_views
from worldmodel.envs.proprioception import Proprioception, proprioception_of
from worldmodel.envs.world import World
from worldmodel.models.interface import Interface


class Sight:
    """Film a world by the cameras of a model's recording, in their size and quality, and feel its joints. Close it.

    Args:
        interface: of the model.
        world: has begun an episode: some worlds have no MuJoCo model before.

    Raises:
        RendererError: no OpenGL, or no camera of that name.
    """

    def __init__(self, interface: Interface, *, world: World) -> None:
        cameras, width = interface.cameras, interface.width // len(interface.cameras)
        self._interface, self._world = interface, world
        self._model, self._sense = world.model, self._senses()
        self._film = Film(FilmConfig(cameras, ("rgb",), interface.height, width, interface.quality), world=world)
        self._columns = [picture_column("rgb", camera) for camera in cameras]

    def image(self) -> NDArray[np.uint8]:
        """Film the present, `[H, W, 3]` uint8."""
        self._film.shoot(0)
        pictures = self._film.pictures(1)
        return join_views([pictures[column][0] for column in self._columns]).copy()

    def felt(self) -> NDArray[np.float32]:
        """Return what the robot feels of its joints at present, `[P]`; P is 0 for a model without proprioception."""
        if self._world.model is not self._model:  # some worlds compile one anew for each episode
            self._model, self._sense = self._world.model, self._senses()
        return self._sense(self._world.data.qpos, self._world.data.qvel)

    def _senses(self) -> Proprioception:
        return proprioception_of(self._world.model) if self._interface.proprioception else Proprioception()

    def close(self) -> None:
        self._film.close()
