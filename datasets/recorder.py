"""Record many episodes on all cores, and lose none that was finished."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from worldmodel.datasets.amount import Amount
from worldmodel.datasets.episodes import Film, FilmConfig, play_episode
from worldmodel.datasets.manifest import Compression, Manifest, Provenance, Simulation, Software, command_line
from worldmodel.datasets.policies import make_policy
from worldmodel.datasets.production import Crew, Progress, produce
from worldmodel.datasets.store import spool_episode
from worldmodel.datasets.workers import check_patience
from worldmodel.envs.channels import CHANNELS, Channel
from worldmodel.envs.registry import make_world
from worldmodel.envs.renderer import Quality
from worldmodel.envs.world import World
from worldmodel.errors import WorldModelError, unknown_name

DEFAULT_FRAMES = 20_000


@dataclass(frozen=True)
class RecordConfig:
    """What to record. The amount is told by one of `frames`, `episodes` and `hours`.

    Attributes:
        env: one of our tasks ("worldmodel/Reacher-v0"), a gymnasium id ("HalfCheetah-v5"), a dm_control task
            ("dm_control/cheetah-run") or a model of your own ("my_robot.xml"); `worldmodel envs` lists them.
        env_arguments: arguments for the environment, a JSON object. Ours take '{"variation": {"colour": 0.5}}'
            (see `envs.variation`), some more: '{"door": "random"}', '{"cubes": 3}'.
        frames: how many frames at least, in whole episodes; 20,000 when no amount is given.
        episodes: how many episodes.
        hours: how many hours of the robot's time at least, in whole episodes.
        episode_frames: frames in an episode that nothing ends early.
        steps_per_frame: control steps between two frames; the actions of all of them are kept.
        height, width: size of a frame, pixels.
        cameras: names of cameras in the model, the main one first; none takes the environment's own, and ""
            is its free camera.
        channels: what each camera records: "rgb", "depth", "segmentation".
        quality: "fast" (no shadows, reflections, multisampling) or "faithful" (as the model asks).
        policy: who acts: "explore" is the exploration that each of our tasks brings along (pushes for blocks and
            ropes, walks through doors), and smooth noise in every other world; "smooth-noise", "uniform", "zero",
            "replay:RECORDING", "sb3:ALGORITHM:FILE", or "module:function" of your own, which takes the world and
            returns a policy.
        seed: makes the recording repeatable, whatever the number of workers.
        compression: "lz4", or "gzip", which any HDF5 reads, at a tenth of the reading speed.
        workers: processes; 0 takes one for each core.
        patience: longest time that a worker may go without a frame before it counts as hanging, s.
    """

    env: str = "worldmodel/Reacher-v0"
    env_arguments: str = "{}"
    frames: int | None = None
    episodes: int | None = None
    hours: float | None = None
    episode_frames: int = 50
    steps_per_frame: int = 5
    height: int = 64
    width: int = 64
    cameras: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ("rgb",)
    quality: Quality = "fast"
    policy: str = "explore"
    seed: int = 0
    compression: Compression = "lz4"
    workers: int = 0
    patience: float = 300.0

    def __post_init__(self) -> None:
        for name, least in (("episode_frames", 2), ("steps_per_frame", 1), ("height", 8), ("width", 8), ("workers", 0)):
            value = getattr(self, name)
            if value < least:
                raise WorldModelError(f"{name} is {value}; expected at least {least}.")
        if not 0 <= self.seed < 2**63:
            raise WorldModelError(f"seed is {self.seed}; expected 0 to 2**63 - 1.")
        check_patience(self.patience)
        for channel in self.channels:
            if channel not in CHANNELS:
                raise unknown_name("channel", channel, CHANNELS)

    def amount(self, control_seconds: float) -> Amount:
        """Return how much to record, of a world with that control step."""
        nothing = self.frames is None and self.episodes is None and self.hours is None
        return Amount.of(
            frames=DEFAULT_FRAMES if nothing else self.frames,
            episodes=self.episodes,
            hours=self.hours,
            control_seconds=control_seconds,
            episode_frames=self.episode_frames,
            steps_per_frame=self.steps_per_frame,
        )


def record(config: RecordConfig, out: Path, *, resume: bool = False, progress: Progress | None = None) -> Manifest:
    """Record into the folder `out`.

    Every finished episode is at once in a closed file; whatever stops the recording, an error,
    Ctrl-C, SIGTERM or the plug, `resume=True` goes on from there and ends with the same shards.

    Args:
        progress: called in this process after each finished episode.

    Returns:
        The manifest of the whole recording.

    Raises:
        WorldModelError: unknown environment, policy or camera; no OpenGL; `out` in use or of another recording;
            a full disk; a worker that died or hangs. What was finished is kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM. What was finished is kept.
    """
    provenance = _provenance(config)
    amount = config.amount(provenance.control_seconds)
    crew = Crew(config.workers, config.patience)
    return produce(_Job(config, out, provenance), amount, out, provenance, crew, resume=resume, progress=progress)


def _provenance(config: RecordConfig) -> Provenance:
    """Ask the world and the renderer, once, what a recording by `config` will come from."""
    world = make_world(config.env, config.env_arguments)
    try:
        world.reset(np.random.default_rng(config.seed))  # some worlds have no model before
        make_policy(config.policy, world)
        film_config = _film_config(config, world)
        with Film(film_config, world=world) as film:
            cameras = tuple(film.pose(name) for name in film_config.cameras)
            gl_renderer = film.gl_renderer
        return Provenance(
            env=config.env,
            env_arguments=config.env_arguments,
            cameras=cameras,
            channels=config.channels,
            height=config.height,
            width=config.width,
            steps_per_frame=config.steps_per_frame,
            control_seconds=world.control_seconds,
            episode_frames=config.episode_frames,
            low=tuple(map(float, world.low)),
            high=tuple(map(float, world.high)),
            policy=config.policy,
            seed=config.seed,
            compression=config.compression,
            simulation=Simulation(
                mjcf=world.mjcf,
                model_sha256=model_sha256(world.model),
                timestep=float(world.model.opt.timestep),
                quality=config.quality,
                gl_renderer=gl_renderer,
            ),
            software=Software.here(),
            command=command_line(),
        )
    finally:
        world.close()


def model_sha256(model: mujoco.MjModel) -> str:
    """Return the hash of a compiled model, in MuJoCo's binary form, hexadecimal."""
    size = mujoco.mj_sizeModel(model)
    binary = np.zeros(size, np.uint8)
    mujoco.mj_saveModel(model, None, binary)
    return hashlib.sha256(binary.tobytes()).hexdigest()


def _film_config(config: RecordConfig, world: World) -> FilmConfig:
    cameras = config.cameras or (world.camera,)
    return FilmConfig(cameras, config.channels, config.height, config.width, config.quality)


@dataclass(frozen=True)
class _Job:
    """What a worker does."""

    config: RecordConfig
    folder: Path
    provenance: Provenance

    def __call__(self, episodes: Iterator[int], finished: Callable[[int, int], None], beat: Callable[[], None]) -> None:
        config = self.config
        world = make_world(config.env, config.env_arguments)
        world.reset(np.random.default_rng(config.seed))
        policy = make_policy(config.policy, world)
        with Film(_film_config(config, world), world=world) as film:
            for index in episodes:
                with spool_episode(self.folder, self.provenance, index=index, seed=config.seed) as writer:
                    ending = play_episode(
                        world,
                        film,
                        policy,
                        writer.add,
                        index=index,
                        seed=config.seed,
                        frames=config.episode_frames,
                        steps_per_frame=config.steps_per_frame,
                        beat=beat,
                    )
                    size = writer.finish(ending)
                finished(index, size)
        world.close()
