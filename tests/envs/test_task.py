"""What every task of ours promises, tried on each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import worldmodel  # noqa: F401  registers the tasks with gymnasium
from worldmodel.envs.goal_env import GoalEnv
from worldmodel.envs.registry import TASKS, make_task
from worldmodel.envs.renderer import Renderer, RendererConfig
from worldmodel.envs.task import Task
from worldmodel.envs.variation import SCENERY
from worldmodel.envs.world import DIVERGED, State
from worldmodel.errors import WorldModelError

pytestmark = pytest.mark.parametrize("name", TASKS)


@pytest.fixture
def task(name: str) -> Task:
    return make_task(name)


@pytest.fixture
def env(name: str) -> Iterator[GoalEnv]:
    env = GoalEnv(name, size=32, render_mode="rgb_array")
    yield env
    env.close()


def random_actions(task: Task, count: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(task.low, task.high, (count, len(task.low))).astype(np.float32)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_gymnasium_makes_it_and_finds_no_fault(name: str) -> None:
    env = gymnasium.make(name, render_mode="rgb_array")
    check_env(env.unwrapped)
    assert env.unwrapped.metadata["render_fps"] == round(1 / make_task(name).control_seconds)
    env.close()


def test_gymnasium_hands_on_its_configuration(name: str) -> None:
    env = gymnasium.make(name, arguments='{"variation": {"mass": 1, "seed": 2}}')
    assert not np.array_equal(env.unwrapped.model.body_mass, make_task(name).model.body_mass)
    env.close()


def test_actuators_are_bounded(task: Task) -> None:
    assert np.isfinite([task.low, task.high]).all()
    assert (task.low < task.high).all()


def test_a_seed_repeats_an_episode(env: GoalEnv) -> None:
    actions = random_actions(env.task, 20)

    def play(seed: int) -> list[np.ndarray]:
        observation, _ = env.reset(seed=seed)
        seen = [observation["image"], observation["goal"]]
        for action in actions:
            observation, reward, *_ = env.step(action)
            seen += [observation["image"], np.array(reward)]
        return seen

    first, again, other = play(1), play(1), play(2)
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


def test_distance_is_zero_at_the_goal_and_symmetric(task: Task) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = task.sample(rng), task.sample(rng)
        assert task.distance(one, one) == 0
        assert task.distance(one, other) == pytest.approx(task.distance(other, one))
        assert task.distance(one, other) > 0


def test_success_is_told_at_the_goal_and_only_near_it(env: GoalEnv) -> None:
    rng = np.random.default_rng(0)
    goal = env.task.sample(rng)
    _, info = env.reset(options={"start": goal, "goal": goal})
    assert info["success"]
    assert info["distance"] == 0
    start = next(
        state
        for state in iter(lambda: env.task.sample(rng), None)
        if env.task.distance(state, goal) > env.task.tolerance
    )
    _, info = env.reset(options={"start": start, "goal": goal})
    assert not info["success"]
    assert info["distance"] == env.task.distance(start, goal)


def test_the_goal_image_is_the_image_of_the_goal_state(env: GoalEnv) -> None:
    rng = np.random.default_rng(0)
    start, goal = env.task.sample(rng), env.task.sample(rng)
    observation, _ = env.reset(options={"start": start, "goal": goal})
    with Renderer(RendererConfig(32, 32, env.task.camera), model=env.task.model) as renderer:
        for name, state in (("goal", goal), ("image", start)):
            env.task.set_state(state)
            assert np.array_equal(observation[name], renderer.draw(env.task.data))  # type: ignore[literal-required]


def test_the_goal_image_stays_and_the_image_moves(env: GoalEnv) -> None:
    first, _ = env.reset(seed=0)
    for action in random_actions(env.task, 30):
        last, *_ = env.step(action)
    assert np.array_equal(first["goal"], last["goal"])
    assert not np.array_equal(first["image"], last["image"])


def test_actions_beyond_the_bounds_are_clipped(task: Task) -> None:
    def after(action: np.ndarray) -> np.ndarray:
        task.reset(np.random.default_rng(0))
        for _ in range(10):
            task.step(action)
        return np.concatenate([task.data.qpos, task.data.qvel])

    assert np.array_equal(after(task.high + 9), after(task.high))
    assert np.array_equal(after(task.low - 9), after(task.low))
    assert not np.array_equal(after(task.high), after(task.low))


def test_a_state_can_be_taken_and_put_back(task: Task) -> None:
    task.reset(np.random.default_rng(0))
    before, after = random_actions(task, 10), random_actions(task, 10)[::-1]
    for action in before:
        task.step(action)
    kept = task.state()
    for action in after:
        task.step(action)
    end = task.state()
    task.set_state(kept)
    back = task.state()
    assert np.array_equal(back.qpos, kept.qpos)
    assert np.array_equal(back.qvel, kept.qvel)
    assert back.time == kept.time
    for action in after:
        task.step(action)
    assert np.array_equal(task.state().qpos, end.qpos)
    assert np.array_equal(task.state().extra, end.extra)
    assert task.state().time == pytest.approx(end.time)


def test_time_passes_by_the_control_step_and_ends_the_episode(env: GoalEnv) -> None:
    env.reset(seed=0)
    action = np.zeros_like(env.task.low)
    for step in range(1, env.task.max_steps + 1):
        _, _, terminated, truncated, _ = env.step(action)
        assert not terminated
        assert truncated == (step == env.task.max_steps)
        assert env.task.data.time == pytest.approx(step * env.task.control_seconds)


def test_a_simulation_that_diverges_is_told(env: GoalEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a log where it runs
    env.reset(seed=0)
    env.data.qvel[:] = 1e13
    with pytest.raises(WorldModelError, match="diverged"):
        env.step(np.zeros_like(env.task.low))
    env.reset(seed=0)
    env.step(np.zeros_like(env.task.low))


def bang_bang(task: Task, count: int) -> np.ndarray:
    """Actions at the bounds, each held for up to 40 steps."""
    rng = np.random.default_rng(6)
    ends = rng.random((count, len(task.low))) < 0.5
    held = np.repeat(ends, rng.integers(1, 41, count), axis=0)[:count]
    return np.where(held, task.low, task.high)


@pytest.mark.parametrize("actions", [random_actions, bang_bang])
def test_any_actions_within_the_bounds_leave_it_finite(task: Task, actions: Callable[[Task, int], np.ndarray]) -> None:
    task.reset(np.random.default_rng(3))
    for action in actions(task, 1000):
        task.step(action)
        assert np.isfinite(task.data.qpos).all()
        assert np.isfinite(task.data.qvel).all()
    assert not any(task.data.warning[warning].number for warning in DIVERGED)


def explore(task: Task, seed: int, steps: int) -> tuple[np.ndarray, list[State]]:
    """Return the actions of the task's own exploration, and the states before and after each."""
    explorer = task.explorer()
    task.reset(np.random.default_rng([seed, 0]))
    explorer.reset(np.random.default_rng([seed, 1]), seed)
    actions, states = [], [task.state()]
    for _ in range(steps):
        actions.append(explorer(task))
        task.step(actions[-1])
        states.append(task.state())
    return np.stack(actions), states


def test_exploration_stays_within_the_bounds_and_repeats_from_its_seed(task: Task, name: str) -> None:
    actions, states = explore(task, 1, 150)
    assert actions.dtype == np.float32
    assert (task.low <= actions).all()
    assert (actions <= task.high).all()
    other = make_task(name)
    explore(other, 2, 30)
    again, same = explore(other, 1, 150)
    assert np.array_equal(actions, again)
    assert np.array_equal(states[-1].qpos, same[-1].qpos)
    assert not np.array_equal(actions, explore(task, 2, 150)[0])


def test_exploration_goes_further_in_25_steps_than_the_tolerance(task: Task) -> None:
    gone = []
    for seed in range(10):
        _, states = explore(task, seed, 200)
        gone += [task.distance(states[t], states[t + 25]) for t in range(0, 175, 25)]
    assert np.mean(np.array(gone) > task.tolerance) > 0.5


def test_what_moves_is_seen_whole_and_not_tiny(task: Task) -> None:
    border = np.ones((64, 64), bool)
    border[1:-1, 1:-1] = False
    with Renderer(RendererConfig(64, 64, task.camera), model=task.model) as renderer:
        for seed in range(4):
            for state in explore(task, seed, 150)[1][::50]:
                task.set_state(state)
                seen = renderer.draw(task.data, channel="segmentation")
                assert moving(task, seen[border]).size == 0
                counts = np.unique(moving(task, seen.reshape(-1, 2)), axis=0, return_counts=True)[1]
                assert counts.sum() >= 12  # pixels


def moving(task: Task, seen: np.ndarray) -> np.ndarray:
    """Return those of the seen objects `[P, 2]` that are not scenery."""
    number, kind = seen.T
    scenery = task.model.geom_group[np.clip(number, 0, None)] == SCENERY
    return seen[(kind >= 0) & ~((kind == mujoco.mjtObj.mjOBJ_GEOM.value) & scenery)]


def test_the_picture_shows_the_goal_s_pose(task: Task) -> None:
    rng = np.random.default_rng(4)
    with Renderer(RendererConfig(64, 64, task.camera), model=task.model) as renderer:
        for _ in range(5):
            start = task.sample(rng)
            goal = task.sample_goal(rng, start)
            pictures = []
            for state in (start, goal):
                task.set_state(state)
                pictures.append(renderer.draw(task.data).astype(int))
            assert (np.abs(pictures[0] - pictures[1]).max(-1) > 30).sum() >= 8  # pixels


def test_a_bad_action_is_refused(env: GoalEnv) -> None:
    env.reset(seed=0)
    with pytest.raises(WorldModelError, match="finite"):
        env.step(np.full_like(env.task.low, np.nan))
    with pytest.raises(WorldModelError, match="Box"):
        env.step(np.zeros(len(env.task.low) + 1, np.float32))


def test_an_unknown_option_is_refused(env: GoalEnv) -> None:
    with pytest.raises(WorldModelError, match=r"'gaol'.*Valid: 'start', 'goal'"):
        env.reset(options={"gaol": None})


def test_a_step_before_the_first_reset_is_refused(env: GoalEnv) -> None:
    with pytest.raises(WorldModelError, match="reset"):
        env.step(np.zeros_like(env.task.low))
