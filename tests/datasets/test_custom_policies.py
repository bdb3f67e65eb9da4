"""Policies of your own: a function, the actions of another recording, a trained model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from worldmodel.datasets.custom_policies import SB3_ALGORITHMS
from worldmodel.datasets.episodes import Film, FilmConfig, play_episode
from worldmodel.datasets.policies import make_policy
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Segment
from worldmodel.envs.registry import make_world
from worldmodel.envs.world import Action, World
from worldmodel.errors import WorldModelError

OWN = """
import numpy as np

class Push:
    def __init__(self, world):
        self.high = world.high
    def reset(self, rng, episode):
        self.share = episode / 10
    def __call__(self, world):
        return self.high * np.float32(self.share)

def push(world):
    return Push(world)

def nothing(world):
    return None

def without_reset(world):
    return lambda world: world.low
"""


@pytest.fixture
def world() -> Iterator[World]:
    world = make_world("worldmodel/Reacher-v0")
    yield world
    world.close()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in the working folder."""
    (tmp_path / "own_policies_of_a_test.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "own_policies_of_a_test", raising=False)


@pytest.mark.usefixtures("own")
def test_a_function_in_the_working_folder_makes_a_policy(world: World) -> None:
    policy = make_policy("own_policies_of_a_test:push", world)
    policy.reset(np.random.default_rng(0), 5)
    np.testing.assert_allclose(policy(world), world.high / 2)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own_policies_of_a_test:pull", "pull"),
        ("no_such_module_at_all:push", "no_such_module_at_all"),
        ("own_policies_of_a_test:", "cannot be imported"),
        (":push", "cannot be imported"),
        ("own_policies_of_a_test:nothing", "returned None; expected an object with reset"),
        ("own_policies_of_a_test:without_reset", "expected an object with reset"),
    ],
)
def test_what_makes_no_policy_is_refused(name: str, said: str, world: World) -> None:
    with pytest.raises(WorldModelError, match=said):
        make_policy(name, world)


def replayed(world: World, recording: Path, episode: int, frames: int) -> list[Segment]:
    policy = make_policy(f"replay:{recording}", world)
    pieces: list[Segment] = []
    with Film(FilmConfig((world.camera,), ("rgb",), 16, 16, "fast"), world=world) as film:
        play_episode(world, film, policy, pieces.append, index=episode, seed=99, frames=frames, steps_per_frame=2)
    return pieces


@pytest.mark.parametrize("episode", [0, 3])
def test_a_replay_goes_through_the_same_states(episode: int, world: World, reacher: Path) -> None:
    (piece,) = replayed(world, reacher, episode, frames=10)
    with Recording.open(reacher) as recording:
        held = recording.episode(episode)
    for name in ("qpos", "qvel", "act", "extra", "visual", "time", "actions", "reward"):
        assert np.array_equal(getattr(piece, name), getattr(held, name)), name


def test_a_replay_that_is_too_short_is_told(world: World, reacher: Path) -> None:
    with pytest.raises(WorldModelError, match=r"no more actions.*--episode-frames"):
        replayed(world, reacher, 0, frames=11)


def test_a_replay_beyond_the_last_episode_is_told(world: World, reacher: Path) -> None:
    policy = make_policy(f"replay:{reacher}", world)
    with pytest.raises(WorldModelError, match="it holds 0 to 5"):
        policy.reset(np.random.default_rng(0), 6)


def test_a_replay_in_another_world_is_refused(reacher: Path) -> None:
    cheetah = make_world("HalfCheetah-v5")
    with pytest.raises(WorldModelError, match=r"2 actuators, the environment has 6"):
        make_policy(f"replay:{reacher}", cheetah)
    cheetah.close()
    other = make_world("Reacher-v5")  # as many actuators, another state
    policy = make_policy(f"replay:{reacher}", other)
    with pytest.raises(WorldModelError, match="same environment"):
        policy.reset(np.random.default_rng(0), 0)
    other.close()


def test_a_recording_that_is_not_there_is_told(world: World, tmp_path: Path) -> None:
    with pytest.raises(WorldModelError, match="No recording at"):
        make_policy(f"replay:{tmp_path / 'nowhere'}", world)


@pytest.mark.parametrize("algorithm", SB3_ALGORITHMS)
def test_a_model_of_the_real_package_acts_as_there(algorithm: str, tmp_path: Path) -> None:
    package = pytest.importorskip("stable_baselines3")
    small = {} if algorithm in ("a2c", "ppo") else {"buffer_size": 10}
    model = getattr(package, algorithm.upper())("MlpPolicy", "InvertedPendulum-v5", seed=1, device="cpu", **small)
    model.save(tmp_path / "model.zip")
    world = make_world("InvertedPendulum-v5")
    policy = make_policy(f"sb3:{algorithm}:{tmp_path / 'model.zip'}", world)
    world.reset(np.random.default_rng(3))
    policy.reset(np.random.default_rng(0), 0)
    for _ in range(5):
        expected, _ = model.predict(world.observation, deterministic=True)
        action = policy(world)
        assert action.dtype == np.float32
        assert np.any(action)
        np.testing.assert_array_equal(action, np.clip(expected, world.low, world.high))
        world.step(action)
    world.close()


class Trained:
    """Stands for a model of Stable-Baselines3: it answers with the first numbers of the observation."""

    def predict(self, observation: np.ndarray, *, deterministic: bool) -> tuple[np.ndarray, None]:
        assert deterministic
        return np.asarray(observation[:1]) * 100, None


@pytest.fixture
def sb3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A model's file, and a package that loads it."""

    def load(path: Path, *, device: str) -> Trained:
        if Path(path).read_text() != "weights":
            raise KeyError("policy")
        assert device == "cpu"
        return Trained()

    package: Any = ModuleType("stable_baselines3")
    for name in SB3_ALGORITHMS:
        setattr(package, name.upper(), SimpleNamespace(load=load))
    monkeypatch.setitem(sys.modules, "stable_baselines3", package)
    (tmp_path / "model.zip").write_text("weights")
    return tmp_path / "model.zip"


@pytest.mark.parametrize("algorithm", SB3_ALGORITHMS)
def test_a_trained_model_acts_within_the_bounds(algorithm: str, sb3: Path) -> None:
    world = make_world("InvertedPendulum-v5")
    policy = make_policy(f"sb3:{algorithm}:{sb3}", world)
    world.reset(np.random.default_rng(3))
    policy.reset(np.random.default_rng(0), 0)
    action: Action = policy(world)
    assert action.dtype == np.float32
    np.testing.assert_allclose(action, np.clip(world.observation[:1] * 100, world.low, world.high), rtol=1e-6)
    world.close()


def test_what_is_no_trained_model_is_refused(sb3: Path, world: World) -> None:
    with pytest.raises(WorldModelError, match=r"'dqn'.*a2c, ddpg, ppo, sac, td3"):
        make_policy(f"sb3:dqn:{sb3}", world)
    with pytest.raises(WorldModelError, match="does not exist"):
        make_policy(f"sb3:ppo:{sb3}.missing", world)
    sb3.write_text("nonsense")
    with pytest.raises(WorldModelError, match="cannot be loaded as PPO: KeyError"):
        make_policy(f"sb3:ppo:{sb3}", world)


def test_a_trained_model_needs_an_observation(sb3: Path, world: World) -> None:
    with pytest.raises(WorldModelError, match="no observation"):
        make_policy(f"sb3:ppo:{sb3}", world)(world)


def test_a_missing_package_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(WorldModelError, match=r"pip install 'worldmodel\[sb3\]'"):
        make_policy("sb3:ppo:model.zip", world)
