"""Other people's environments keep their own rules."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from worldmodel.envs.registry import make_world


@pytest.mark.parametrize("name", ["Ant-v5", "InvertedPendulum-v5"])
def test_rewards_and_ends_are_the_environment_s_own(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo finds the XML old-fashioned, and leaves a log where it runs
    world, env = make_world(name), gymnasium.make(name)
    world.reset(np.random.default_rng(4))
    env.reset(seed=int(np.random.default_rng(4).integers(2**31)))
    rng = np.random.default_rng(0)
    for _ in range(20):
        action = rng.uniform(world.low, world.high).astype(np.float32)
        outcome = world.step(action)
        world.drawable()
        _, reward, terminated, truncated, _ = env.step(action)
        assert (outcome.reward, outcome.terminated, outcome.truncated) == (reward, terminated, truncated)
        assert np.array_equal(world.data.qpos, env.unwrapped.data.qpos)  # type: ignore[attr-defined]
        if terminated:
            break
    env.close()
    world.close()


def test_what_is_drawn_is_of_the_current_state() -> None:
    world = make_world("HalfCheetah-v5")
    world.reset(np.random.default_rng(0))
    for _ in range(5):
        world.step(world.high)
    expected = mujoco.MjData(world.model)
    expected.qpos[:], expected.qvel[:] = world.data.qpos, world.data.qvel
    mujoco.mj_forward(world.model, expected)
    np.testing.assert_allclose(world.drawable().xpos, expected.xpos, atol=1e-12)
    world.close()


def test_actions_beyond_the_bounds_are_clipped() -> None:
    world = make_world("InvertedPendulum-v5")

    def after(action: np.ndarray) -> np.ndarray:
        world.reset(np.random.default_rng(0))
        world.step(action)
        return world.data.qpos.copy()

    assert np.array_equal(after(world.high + 5), after(world.high))
    world.close()


def test_making_one_says_nothing_and_leaves_nothing(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_world("HalfCheetah-v5").close()  # MuJoCo finds its XML old-fashioned
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_it_tells_its_model_its_camera_and_its_time_step() -> None:
    world = make_world("HalfCheetah-v5")
    assert world.mjcf.strip().startswith("<")
    assert world.camera == "track"
    assert world.control_seconds == pytest.approx(0.05)
    world.close()
