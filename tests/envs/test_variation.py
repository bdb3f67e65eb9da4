"""Factors of variation, tried on every task."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
import pytest

from worldmodel.envs.registry import TASKS, make_task
from worldmodel.envs.renderer import Renderer, RendererConfig
from worldmodel.envs.task import Task
from worldmodel.envs.variation import FACTORS, Variation
from worldmodel.errors import WorldModelError

LOOKS, PHYSICS = ("colour", "camera", "light", "size"), ("friction", "mass")


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> Task:
    return make_task(request.param)


@pytest.fixture
def renderer(task: Task) -> Iterator[Renderer]:
    with Renderer(RendererConfig(64, 64, task.camera), model=task.model) as renderer:
        yield renderer


def binary(model: mujoco.MjModel) -> bytes:
    buffer = np.zeros(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer.tobytes()


def picture(task: Task, renderer: Renderer) -> np.ndarray:
    task.set_state(task.sample(np.random.default_rng(1)))
    return renderer.draw(task.data)


def future(task: Task) -> np.ndarray:
    """Return where the task is after a while of exploring actions, the same whatever the variation."""
    explorer = task.explorer()
    state = task.sample(np.random.default_rng(1))
    task.set_state(state)
    explorer.reset(np.random.default_rng(2), 0)
    for _ in range(60):
        task.step(explorer(task))
    return task.state().qpos


def test_strength_zero_changes_nothing(task: Task) -> None:
    before = binary(task.model)
    task.vary(Variation(seed=3))
    assert binary(task.model) == before


@pytest.mark.parametrize("factor", FACTORS)
def test_a_factor_changes_what_it_should_and_is_taken_off_exactly(task: Task, renderer: Renderer, factor: str) -> None:
    model, seen, gone = binary(task.model), picture(task, renderer), future(task)
    for seed in range(3):
        task.vary(Variation(seed=seed, **{factor: 1.0}))
        if factor in LOOKS:
            assert not np.array_equal(picture(task, renderer), seen)
        else:
            assert np.array_equal(picture(task, renderer), seen)
            assert not np.array_equal(future(task), gone)
        if factor in ("colour", "camera", "light"):
            assert np.array_equal(future(task), gone)
    task.vary(Variation())
    assert binary(task.model) == model
    assert np.array_equal(picture(task, renderer), seen)
    assert np.array_equal(future(task), gone)


def test_everything_at_once_stays_finite(task: Task) -> None:
    for seed in range(4):
        task.vary(Variation(1, 1, 1, 1, 1, 1, seed=seed))
        assert np.isfinite(future(task)).all()


def test_a_seed_repeats_a_variation_and_another_gives_another(task: Task) -> None:
    models = []
    for seed in (1, 2, 1):
        task.vary(Variation(colour=0.5, seed=seed))
        models.append(binary(task.model))
    assert models[0] == models[2] != models[1]


def test_a_factor_draws_the_same_whatever_other_factors_are_on(task: Task) -> None:
    task.vary(Variation(colour=0.5, seed=1))
    colours = task.model.geom_rgba.copy()
    task.vary(Variation(colour=0.5, camera=1, mass=1, seed=1))
    assert np.array_equal(task.model.geom_rgba, colours)


def test_the_half_of_a_strength_goes_less_far() -> None:
    task = make_task("worldmodel/Reacher-v0")
    plain = task.model.cam_pos.copy()

    def moved(strength: float) -> float:
        task.vary(Variation(camera=strength, seed=1))
        return float(np.linalg.norm(task.model.cam_pos - plain))

    assert moved(0.5) == pytest.approx(moved(1.0) / 2)


def test_every_episode_can_differ_and_its_seed_repeats_it(task: Task) -> None:
    task.vary(Variation(colour=1.0, every_episode=True))
    models, starts = [], []
    for seed in (1, 2, 1):
        task.reset(np.random.default_rng(seed))
        models.append(binary(task.model))
        starts.append(task.state().qpos)
    assert models[0] == models[2] != models[1]
    task.vary(Variation())
    task.reset(np.random.default_rng(1))
    assert np.array_equal(task.state().qpos, starts[0])  # the start does not depend on the variation


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_beyond_its_range_is_refused(strength: float) -> None:
    with pytest.raises(WorldModelError, match=r"light is .*expected 0"):
        Variation(light=strength)
