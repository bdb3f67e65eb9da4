"""Worlds by name: our own tasks, and every gymnasium environment that MuJoCo simulates."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gymnasium
import mujoco

from worldmodel.envs.gymnasium_world import GymnasiumWorld
from worldmodel.envs.reacher import Reacher
from worldmodel.envs.task import Task
from worldmodel.envs.world import World
from worldmodel.errors import WorldModelError, unknown_name

TASKS: dict[str, Callable[[], Task]] = {
    "worldmodel/Reacher-v0": Reacher,
}


def make_task(name: str) -> Task:
    """Make one of our own tasks.

    Raises:
        WorldModelError: no task has that name; lists those there are.
    """
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]()


def make_world(name: str) -> World:
    """Make a world by its name.

    Args:
        name: one of our tasks, such as "worldmodel/Reacher-v0", or a gymnasium id, such as "HalfCheetah-v5".

    Raises:
        WorldModelError: no environment has that name, or MuJoCo does not simulate it.
    """
    if name in TASKS:
        return make_task(name)
    if name not in gymnasium.registry:
        raise unknown_name("environment", name, [*TASKS, *_gymnasium_names()])
    try:
        with _no_remarks():
            return GymnasiumWorld(name)
    except WorldModelError:
        raise
    except Exception as error:  # other people's constructors fail in their own ways, assertions among them
        raise WorldModelError(f"Environment '{name}' cannot be made: {type(error).__name__}: {error}") from error


@contextmanager
def _no_remarks() -> Iterator[None]:
    """Keep back remarks on old versions (gymnasium's) and old XML (MuJoCo's, which leaves a log file, too).

    Every worker would make them, in the midst of the progress bar, and nobody here can act on them.
    """
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda remark: None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        mujoco.set_mju_user_warning(before)


def _gymnasium_names() -> list[str]:
    """Return gymnasium's own MuJoCo environments; those before version 4 need a MuJoCo of long ago."""
    specs = gymnasium.registry.values()
    return [spec.id for spec in specs if "envs.mujoco" in str(spec.entry_point) and (spec.version or 0) >= 4]
