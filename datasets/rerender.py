"""Film a recording again, at another size, from other cameras, in other channels: its states are all there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from worldmodel.datasets.amount import Amount
from worldmodel.datasets.episodes import Film, FilmConfig
from worldmodel.datasets.manifest import Manifest, Provenance, Simulation, Software, command_line
from worldmodel.datasets.production import Crew, Progress, produce
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import model_sha256
from worldmodel.datasets.schema import Segment
from worldmodel.datasets.states import state_at
from worldmodel.datasets.store import spool_episode
from worldmodel.datasets.workers import check_patience
from worldmodel.envs.channels import CHANNELS, Channel
from worldmodel.envs.registry import make_world
from worldmodel.envs.renderer import Quality
from worldmodel.envs.world import World
from worldmodel.errors import RecordingError, WorldModelError, unknown_name


@dataclass(frozen=True)
class RerenderConfig:
    """How to film again; what is None stays as it was.

    Attributes:
        height, width: size of a frame, pixels.
        cameras: names of cameras in the model, the main one first; none keeps those of the recording.
        channels: what each camera records: "rgb", "depth", "segmentation"; none keeps those of the recording.
        quality: "fast" or "faithful".
        workers: processes; 0 takes one for each core.
        patience: longest time that a worker may go without a frame before it counts as hanging, s.
    """

    height: int | None = None
    width: int | None = None
    cameras: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    quality: Quality | None = None
    workers: int = 0
    patience: float = 300.0

    def __post_init__(self) -> None:
        for name, least in (("height", 8), ("width", 8), ("workers", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise WorldModelError(f"{name} is {value}; expected at least {least}.")
        check_patience(self.patience)
        for channel in self.channels:
            if channel not in CHANNELS:
                raise unknown_name("channel", channel, CHANNELS)


def rerender(
    config: RerenderConfig, source: Recording, out: Path, *, resume: bool = False, progress: Progress | None = None
) -> Manifest:
    """Film every state of `source` again, into the folder `out`.

    Returns:
        The manifest of the new recording, which differs from the source in its pictures alone.

    Raises:
        RecordingError: the source was not simulated, or its model is not the one that its environment has here.
        WorldModelError: as `record` raises.
    """
    world, simulation = _world(source.provenance)
    try:
        film_config = _film_config(config, source.provenance, simulation)
        with Film(film_config, world=world) as film:
            provenance = replace(
                source.provenance,
                cameras=tuple(film.pose(name) for name in film_config.cameras),
                channels=film_config.channels,
                height=film_config.height,
                width=film_config.width,
                simulation=replace(simulation, quality=film_config.quality, gl_renderer=film.gl_renderer),
                software=Software.here(),
                command=command_line(),
            )
    finally:
        world.close()
    job = _Job(film_config, source.folder, out, provenance)
    amount = Amount("episodes", source.episodes, 1)
    crew = Crew(config.workers, config.patience)
    return produce(job, amount, out, provenance, crew, resume=resume, progress=progress)


def _world(provenance: Provenance) -> tuple[World, Simulation]:
    """Make the world that was recorded."""
    simulation = provenance.simulation
    if simulation is None:
        raise RecordingError(
            f"This recording comes from '{provenance.env}', not from MuJoCo; there is no scene to film."
        )
    world = make_world(provenance.env, provenance.env_arguments)
    world.reset(np.random.default_rng(provenance.seed))
    if model_sha256(world.model) != simulation.model_sha256:
        world.close()
        raise RecordingError(
            f"The model of '{provenance.env}' here is not the one that was recorded: its hash differs. Use the files "
            f"and versions of then (MuJoCo {provenance.software.mujoco}); worldmodel info lists them."
        )
    return world, simulation


def _film_config(config: RerenderConfig, provenance: Provenance, simulation: Simulation) -> FilmConfig:
    return FilmConfig(
        cameras=config.cameras or tuple(camera.name for camera in provenance.cameras),
        channels=config.channels or provenance.channels,
        height=config.height or provenance.height,
        width=config.width or provenance.width,
        quality=config.quality or simulation.quality,
    )


@dataclass(frozen=True)
class _Job:
    """What a worker does."""

    film: FilmConfig
    source: Path
    out: Path
    provenance: Provenance

    def __call__(self, episodes: Iterator[int], finished: Callable[[int, int], None], beat: Callable[[], None]) -> None:
        with Recording.open(self.source) as source:
            world, _ = _world(source.provenance)
            with Film(self.film, world=world) as film:
                for index in episodes:
                    stream = source.stream(index)
                    with spool_episode(self.out, self.provenance, index=index, seed=stream.seed) as writer:
                        for segment in stream.segments():
                            writer.add(_film_again(segment, world, film, beat))
                        size = writer.finish(stream.ending)
                    finished(index, size)
            world.close()


def _film_again(segment: Segment, world: World, film: Film, beat: Callable[[], None]) -> Segment:
    for row in range(len(segment)):
        world.set_visual(segment.visual[row])
        world.set_state(state_at(segment, row))
        film.shoot(row)
        beat()
    return replace(segment, pictures=film.pictures(len(segment)))
