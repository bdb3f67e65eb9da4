"""How much each task of the benchmark is recorded, and how long it is trained for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worldmodel.errors import unknown_name


@dataclass(frozen=True)
class Recipe:
    """What a task takes.

    Attributes:
        frames: recorded for each training seed.
        minutes: wall-clock time of training, min, on two cores.
    """

    frames: int
    minutes: float


RECIPES: Mapping[str, Recipe] = {
    "Reacher": Recipe(frames=40_000, minutes=10),
    "TwoRoom": Recipe(frames=40_000, minutes=10),
    "PointMaze": Recipe(frames=60_000, minutes=15),
    "PushT": Recipe(frames=400_000, minutes=30),
    "Cube": Recipe(frames=400_000, minutes=30),
    "Cartpole": Recipe(frames=40_000, minutes=20),
    "Rope": Recipe(frames=60_000, minutes=20),
}


def recipe_of(task: str) -> Recipe:
    """Return the recipe of a task, which is named without "worldmodel/" and "-v0".

    Raises:
        WorldModelError: the benchmark has no such task; lists those it has.
    """
    if task not in RECIPES:
        raise unknown_name("task of the benchmark", task, RECIPES)
    return RECIPES[task]
