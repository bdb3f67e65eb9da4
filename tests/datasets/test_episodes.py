"""Playing one episode: T + 1 frames, frame t shows state t, and a diverging simulation is not kept."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from worldmodel.datasets.episodes import play_episode
from worldmodel.datasets.policies import make_policy
from worldmodel.datasets.schema import Ending, Episode
from worldmodel.envs.registry import make_world
from worldmodel.envs.renderer import Renderer, RendererConfig
from worldmodel.envs.world import Action, Outcome, World
from worldmodel.errors import RecordingError

CONFIG = RendererConfig(24, 32)


def play(
    world: World, *, policy: str = "uniform", index: int = 0, frames: int = 8, steps_per_frame: int = 3
) -> Episode:
    with Renderer(CONFIG, model=world.model) as renderer:
        return play_episode(
            world,
            renderer,
            make_policy(policy, world),
            index=index,
            seed=5,
            frames=frames,
            steps_per_frame=steps_per_frame,
        )


def test_an_episode_that_nothing_ends_has_one_frame_more_than_blocks() -> None:
    world = make_world("worldmodel/Reacher-v0")
    episode = play(world)
    assert episode.frames.shape == (8, 24, 32, 3)
    assert episode.actions.shape == (21, 2)
    assert episode.reward.shape == (21,)
    assert episode.frame_step.tolist() == [0, 3, 6, 9, 12, 15, 18, 21]
    assert episode.ending is Ending.LIMIT
    np.testing.assert_allclose(episode.time, episode.frame_step * world.control_seconds)


def test_a_world_that_ends_the_episode_gets_a_last_frame_of_its_end() -> None:
    world = make_world("InvertedPendulum-v5")
    episodes = [play(world, index=index, frames=40) for index in range(12)]
    partial = 0
    for episode in episodes:
        steps = len(episode.actions)
        assert episode.ending is Ending.TERMINATED
        assert len(episode.frames) == -(-steps // 3) + 1
        assert episode.frame_step[-1] == steps
        assert episode.frame_step[:-1].tolist() == list(range(0, steps, 3))
        partial += steps % 3 != 0
    assert partial > 0
    world.close()


@pytest.mark.parametrize("env", ["worldmodel/Reacher-v0", "InvertedPendulum-v5", "HalfCheetah-v5"])
def test_frame_t_shows_state_t(env: str) -> None:
    world = make_world(env)
    episode = play(world)
    data = mujoco.MjData(world.model)
    with Renderer(CONFIG, model=world.model) as renderer:
        for frame, qpos, qvel in zip(episode.frames, episode.qpos, episode.qvel, strict=True):
            data.qpos[:], data.qvel[:] = qpos, qvel
            mujoco.mj_forward(world.model, data)
            assert np.array_equal(renderer.draw(data), frame)
    assert not np.array_equal(episode.frames[0], episode.frames[-1])
    world.close()


def test_the_actions_lead_from_state_to_state() -> None:
    world = make_world("worldmodel/Reacher-v0")
    episode = play(world, policy="smooth-noise")
    again = make_world("worldmodel/Reacher-v0")
    again.reset(np.random.default_rng(np.random.SeedSequence([5, 0]).spawn(2)[0]))
    for block in range(7):
        assert np.array_equal(again.data.qpos, episode.qpos[block])
        for action in episode.actions[3 * block : 3 * block + 3]:
            again.step(action)


@pytest.mark.parametrize("env", ["worldmodel/Reacher-v0", "InvertedPendulum-v5"])
def test_an_episode_does_not_depend_on_those_before_it(env: str) -> None:
    world, fresh = make_world(env), make_world(env)
    for index in range(3):
        last = play(world, index=index)
    alone = play(fresh, index=2)
    other = play(fresh, index=1)
    for name in ("frames", "qpos", "qvel", "actions", "reward"):
        assert np.array_equal(getattr(last, name), getattr(alone, name))
    assert not np.array_equal(other.actions, alone.actions)
    world.close()
    fresh.close()


class Exploding(World):
    """A mass that is pushed harder than MuJoCo can follow, from the third step on."""

    camera = ""
    control_seconds = 0.01  # type: ignore[assignment]

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(
            "<mujoco><worldbody><body><joint name='x' type='slide'/><geom size='.1'/></body></worldbody>"
            "<actuator><motor joint='x' gear='1e15' ctrlrange='0 1'/></actuator></mujoco>"
        )
        self.data = mujoco.MjData(self.model)
        self.low, self.high = np.zeros(1, np.float32), np.ones(1, np.float32)

    def reset(self, rng: np.random.Generator) -> None:
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_forward(self.model, self.data)

    def step(self, action: Action) -> Outcome:
        self.data.ctrl[:] = self.data.time > 0.004
        mujoco.mj_step(self.model, self.data)
        return Outcome()


def test_a_simulation_that_diverges_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a log where it runs
    with pytest.raises(RecordingError, match=r"Episode 4: the simulation diverged at control step 4 .*time step"):
        play(Exploding(), index=4)
