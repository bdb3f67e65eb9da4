"""Policies of your own: a function, a trained Stable-Baselines3 model, the actions of another recording."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.datasets.reader import Recording
from worldmodel.datasets.states import state_at
from worldmodel.envs.exploration import Policy
from worldmodel.envs.world import Action, World
from worldmodel.errors import WorldModelError, unknown_name

FORMS = ("module:function", "replay:RECORDING", "sb3:ALGORITHM:FILE")
SB3_ALGORITHMS = ("a2c", "ddpg", "ppo", "sac", "td3")


def make(kind: str, rest: str, world: World) -> Policy:
    """Make the policy that is named `kind:rest`.

    Raises:
        WorldModelError: it cannot be made; says why.
    """
    if kind == "replay":
        return Replay(Recording.open(rest), world)
    if kind == "sb3":
        algorithm, _, file = rest.partition(":")
        return StableBaselines3(algorithm, Path(file))
    return _call(kind, rest, world)


def _call(module_name: str, function_name: str, world: World) -> Policy:
    """Import a module, from the working folder too, and have its function make a policy for the world."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # whatever runs at the top of a user's module
        raise WorldModelError(
            f"Policy '{module_name}:{function_name}' cannot be imported: {type(error).__name__}: {error}. Expected a "
            "function of an importable module, or of a file in the working folder."
        ) from error
    policy: Policy = function(world)
    if not callable(policy) or not callable(getattr(policy, "reset", None)):
        raise WorldModelError(
            f"Policy '{module_name}:{function_name}' returned {policy!r}; expected an object with "
            "reset(rng, episode) and __call__(world) -> action."
        )
    return policy


class Replay:
    """Repeat the actions of a recording, from the same starts: to film them anew, or in a changed world.

    Args:
        recording: episode n of it is repeated as episode n.
        world: must have as many actuators and as large a state.

    Raises:
        WorldModelError: the world is of another shape, or (on `reset`) there is no such episode.
    """

    def __init__(self, recording: Recording, world: World) -> None:
        held, here = len(recording.provenance.low), len(world.low)
        if held != here:
            raise WorldModelError(
                f"The recording '{recording.folder}' has actions of {held} actuators, the environment has {here}; "
                "expected the same environment."
            )
        self._recording, self._world = recording, world

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        source = self._recording.stream(episode)
        first = next(source.segments(1))
        state = state_at(first, 0)
        here = self._world.state()
        for name in ("qpos", "qvel", "act", "extra"):
            held, expected = np.shape(getattr(state, name)), np.shape(getattr(here, name))
            if held != expected:
                raise WorldModelError(
                    f"The recording '{self._recording.folder}' has a state whose {name} is {held}; the environment's "
                    f"is {expected}. Replay in the same environment."
                )
        if first.visual.shape[1] == len(self._world.visual()):
            self._world.set_visual(first.visual[0])
        self._world.set_state(state)
        start = int(self._recording.action_start[episode])
        self._actions = iter(self._recording.read_actions(start, start + source.steps))

    def __call__(self, world: World) -> Action:
        action = next(self._actions, None)
        if action is None:
            raise WorldModelError(
                "The replayed episode has no more actions. Record with the same --episode-frames and "
                "--steps-per-frame, or fewer."
            )
        return np.asarray(action)


class StableBaselines3:
    """A model that Stable-Baselines3 trained, acting by its mean. Its file holds code: load only what you trust.

    Args:
        algorithm: one of `SB3_ALGORITHMS`.
        file: as its `save` wrote it.

    Raises:
        WorldModelError: the package is missing, the algorithm is unknown, or the file cannot be loaded.
    """

    def __init__(self, algorithm: str, file: Path) -> None:
        if algorithm not in SB3_ALGORITHMS:
            raise unknown_name("Stable-Baselines3 algorithm", algorithm, SB3_ALGORITHMS)
        try:
            package = importlib.import_module("stable_baselines3")
        except ImportError as error:
            raise WorldModelError(
                f"Policy 'sb3:{algorithm}' needs Stable-Baselines3 ({error}). Install it: pip install 'worldmodel[sb3]'"
            ) from error
        if not file.is_file():
            raise WorldModelError(f"The model '{file}' does not exist; expected a file that `model.save` wrote.")
        try:
            self._model: Any = getattr(package, algorithm.upper()).load(file, device="cpu")
        except Exception as error:  # whatever unpacking a foreign file raises
            raise WorldModelError(
                f"'{file}' cannot be loaded as {algorithm.upper()}: {type(error).__name__}: {error}."
            ) from error

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        pass

    def __call__(self, world: World) -> Action:
        if world.observation is None:
            raise WorldModelError("This environment has no observation for a trained policy; use a gymnasium one.")
        action, _ = self._model.predict(world.observation, deterministic=True)
        return np.clip(np.asarray(action, np.float32), world.low, world.high)
