"""Play one episode in a world and film it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.manifest import Camera
from worldmodel.datasets.schema import SEGMENT_FRAMES, Ending, Segment, picture_column
from worldmodel.envs.channels import CHANNELS, Channel
from worldmodel.envs.exploration import Policy
from worldmodel.envs.renderer import Quality, Renderer, RendererConfig
from worldmodel.envs.world import Outcome, World
from worldmodel.errors import RecordingError, WorldModelError


@dataclass(frozen=True)
class FilmConfig:
    """What to film, and how.

    Attributes:
        cameras: their names; the first is the main one.
        channels: what each of them records, "rgb" first.
        height, width: size of a frame, pixels.
        quality: "fast" or "faithful".
    """

    cameras: tuple[str, ...]
    channels: tuple[Channel, ...]
    height: int
    width: int
    quality: Quality


class Film:
    """Film a world into arrays, a few frames at a time.

    Raises:
        RendererError: no OpenGL, or no camera of that name.
    """

    def __init__(self, config: FilmConfig, *, world: World) -> None:
        self._config, self._world = config, world
        self._renderer = self._open()
        self._pictures = {
            picture_column(channel, camera): np.empty(
                (SEGMENT_FRAMES, *CHANNELS[channel].shape(config.height, config.width)), CHANNELS[channel].dtype
            )
            for channel in config.channels
            for camera in config.cameras
        }

    def _open(self) -> Renderer:
        config, world = self._config, self._world
        self._shots: list[tuple[str, mujoco.MjvCamera, Channel]] = [
            (picture_column(channel, camera), world.viewpoint(camera), channel)
            for channel in config.channels
            for camera in config.cameras
        ]
        self._model = world.model
        return Renderer(RendererConfig(config.height, config.width, "", config.quality), model=world.model)

    @property
    def gl_renderer(self) -> str:
        """What draws, as OpenGL names it."""
        return self._renderer.gl_renderer

    def pose(self, name: str) -> Camera:
        """Return where camera `name` films from now."""
        camera, scene = self._world.viewpoint(name), mujoco.MjvScene(self._model, 1)
        mujoco.mjv_updateCamera(self._model, self._world.drawable(), camera, scene)
        eye, other = scene.camera  # of a stereo pair; pictures are drawn from between them
        position = tuple(map(float, (eye.pos + other.pos) / 2))
        forward, up = (tuple(map(float, vector)) for vector in (eye.forward, eye.up))
        fixed = camera.type == mujoco.mjtCamera.mjCAMERA_FIXED
        fovy = self._model.cam_fovy[camera.fixedcamid] if fixed else self._model.vis.global_.fovy
        return Camera(name, position, forward, up, 0.0 if eye.orthographic else float(fovy))

    def shoot(self, row: int) -> None:
        """Film the world's present state into row `row`, below `SEGMENT_FRAMES`."""
        if self._world.model is not self._model:  # some environments compile a model anew for each episode
            self._renderer.close()
            self._renderer = self._open()
        data = self._world.drawable()
        for column, camera, channel in self._shots:
            self._renderer.draw(data, self._pictures[column][row], camera=camera, channel=channel)

    def pictures(self, count: int) -> dict[str, NDArray[Any]]:
        """Return the first `count` rows of all columns; the next shots overwrite them."""
        return {column: pictures[:count] for column, pictures in self._pictures.items()}

    def close(self) -> None:
        self._renderer.close()

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def play_episode(
    world: World,
    film: Film,
    policy: Policy,
    write: Callable[[Segment], None],
    *,
    index: int,
    seed: int,
    frames: int,
    steps_per_frame: int,
    beat: Callable[[], None] = lambda: None,
) -> Ending:
    """Record one episode: the start, then a frame every `steps_per_frame` control steps.

    All randomness comes from `(seed, index)`, so an episode does not depend on those before it. A world
    that ends the episode early gets a last frame of its final state.

    Args:
        write: takes the episode piece by piece: at most `frames` frames and `(frames - 1) * steps_per_frame`
            actions in all. What it is given is overwritten after it returns.
        beat: called after each frame.

    Raises:
        RecordingError: the simulation diverged.
    """
    world_rng, policy_rng = (np.random.default_rng(child) for child in np.random.SeedSequence([seed, index]).spawn(2))
    world.reset(world_rng)
    policy.reset(policy_rng, index)
    part = _Part(film, world)
    part.shoot(0)
    steps, shot = 0, 1
    ending = Ending.LIMIT
    while shot < frames and ending is Ending.LIMIT:
        action = policy(world)
        outcome = world.step(action)
        steps += 1
        part.act(action, outcome)
        ending = _ending(outcome)
        if steps % steps_per_frame == 0 or ending is not Ending.LIMIT:
            _check_alive(world, index, steps)
            part.shoot(steps)
            shot += 1
            beat()
            if part.full:
                write(part.segment())
    if not part.empty:
        write(part.segment())
    return ending


class _Part:
    """The frames, states and actions that are not yet written, each in a row of its own."""

    def __init__(self, film: Film, world: World) -> None:
        self._film, self._world = film, world
        state = world.state()
        self._columns = {
            name: np.empty((SEGMENT_FRAMES, *np.shape(row)))
            for name, row in (*state.named(), ("visual", world.visual()))
        }
        self._clear()

    def _clear(self) -> None:
        self._steps: list[int] = []
        self._actions: list[NDArray[np.float32]] = []
        self._rewards: list[float] = []

    @property
    def full(self) -> bool:
        return len(self._steps) == SEGMENT_FRAMES

    @property
    def empty(self) -> bool:
        return not self._steps

    def shoot(self, step: int) -> None:
        row = len(self._steps)
        self._film.shoot(row)
        for name, values in self._world.state().named():
            self._columns[name][row] = values
        self._columns["visual"][row] = self._world.visual()
        self._steps.append(step)

    def act(self, action: NDArray[np.float32], outcome: Outcome) -> None:
        self._actions.append(action)
        self._rewards.append(outcome.reward)

    def segment(self) -> Segment:
        """Return them, and begin anew; the next shots overwrite them."""
        frames, steps = len(self._steps), len(self._actions)
        segment = Segment(
            pictures=self._film.pictures(frames),
            frame_step=np.array(self._steps, np.int64),
            **{name: rows[:frames] for name, rows in self._columns.items()},
            actions=np.array(self._actions, np.float32).reshape(steps, len(self._world.low)),
            reward=np.array(self._rewards, np.float64),
        )
        self._clear()
        return segment


def _check_alive(world: World, episode: int, step: int) -> None:
    try:
        world.check_alive()
    except WorldModelError as error:
        raise RecordingError(f"Episode {episode}, by control step {step}: {error}") from error


def _ending(outcome: Outcome) -> Ending:
    if outcome.terminated:
        return Ending.TERMINATED
    return Ending.TRUNCATED if outcome.truncated else Ending.LIMIT
