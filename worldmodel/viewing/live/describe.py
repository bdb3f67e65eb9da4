"""What a live session's viewers must know once: the world, its actuators, and the map of what the model sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.task import Task
from worldmodel.envs.world import World
from worldmodel.evenly import evenly
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import LatentMap
from worldmodel.viewing.live.messages import message, rounded

MAP_POINTS = 600


def describe_world(
    trained: Trained, world: World, *, survey: LatentMap, cloud: NDArray[np.float32], neutral: NDArray[np.float64]
) -> str:
    """Return the message `world`.

    Args:
        cloud: recorded frames on the map, `[N, 2]`.
        neutral: the actions when nobody drives, `[A]`, in [-1, 1].
    """
    recording = trained.recording
    p, (height, width, _) = recording.provenance, recording.frame_shape
    task = world if isinstance(world, Task) else None
    return message(
        "world",
        env=p.env,
        run=trained.folder.resolve().name,
        height=height,
        width=width,
        actuators=actuator_names(world),
        neutral=rounded(neutral),
        seconds_per_frame=p.control_seconds * p.steps_per_frame,
        whole_frames=recording.whole_frames.tolist(),
        held_out=trained.held_out.tolist(),
        longest_horizon=trained.model.longest_forecast,
        cloud=rounded(cloud[evenly(len(cloud), MAP_POINTS)], 3),
        motion=rounded(survey.motion / survey.unrelated),
        unit=task.unit if task else "",
        tolerance=task.tolerance if task else 0,
    )


def actuator_names(world: World) -> list[str]:
    """Return a name for each number of an action, which is not always one actuator's."""
    model, size = world.model, len(world.low)
    if model.nu != size:
        return [f"action {i + 1}" for i in range(size)]
    return [model.actuator(i).name or f"actuator {i + 1}" for i in range(size)]
