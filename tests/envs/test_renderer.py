"""Frames: upright, in true colours, the same again, and, when asked, what the environment itself would draw."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from worldmodel.envs.renderer import Quality, Renderer, RendererConfig
from worldmodel.errors import RendererError, WorldModelError

# A bright red plate to the right (+x), a green one at the top (+y) and a blue one at the left, seen from above.
SCENE = """
<mujoco>
  <visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/></visual>
  <worldbody>
    <camera name="above" pos="0 0 2" fovy="60"/>
    <camera name="from-the-side" pos="2 0 0" xyaxes="0 1 0 0 0 1"/>
    <light pos="0 0 3" dir="0 0 -1" diffuse="0 0 0"/>
    <geom type="box" size=".2 .2 .01" pos=".7 0 0" rgba="1 0 0 1"/>
    <geom type="box" size=".2 .2 .01" pos="0 .7 0" rgba="0 1 0 1"/>
    <geom type="box" size=".2 .2 .01" pos="-.7 0 0" rgba="0 0 1 1"/>
    <body name="ball"><joint type="slide" axis="1 0 0"/><geom size=".1" rgba="1 1 1 1"/></body>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def scene() -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def test_frames_are_upright_and_colours_true(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    with Renderer(RendererConfig(48, 64, "above"), model=model) as renderer:
        frame = renderer.draw(data)
    assert frame.shape == (48, 64, 3)
    assert frame.dtype == np.uint8
    right, top, left, bottom = frame[24, 46], frame[10, 32], frame[24, 18], frame[38, 32]
    assert right[0] > 200
    assert max(right[1], right[2]) < 50
    assert top[1] > 200
    assert max(top[0], top[2]) < 50
    assert left[2] > 200
    assert max(left[0], left[1]) < 50
    assert bottom.max() < 50  # nothing there


def test_draws_into_an_array_of_the_caller(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    with Renderer(RendererConfig(16, 24, "above"), model=model) as renderer:
        frames = np.zeros((2, 16, 24, 3), np.uint8)
        assert renderer.draw(data, frames[1]) is not None
        assert np.array_equal(frames[1], renderer.draw(data))
        assert not frames[0].any()


def test_a_frame_shows_the_state_it_is_drawn_from(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    with Renderer(RendererConfig(48, 48, "above"), model=model) as renderer:
        columns = []
        for position in (-0.4, 0.0, 0.4):
            data.qpos[0] = position
            mujoco.mj_forward(model, data)
            columns.append(np.flatnonzero(renderer.draw(data)[24].min(axis=1) > 100).mean())
    assert columns[0] < columns[1] < columns[2]
    assert columns[1] == pytest.approx(23.5, abs=1)


def test_fast_pixels_repeat_exactly_across_contexts(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    config = RendererConfig(64, 64, "above")
    with Renderer(config, model=model) as one, Renderer(config, model=model) as other:
        for position in np.linspace(-0.9, 0.9, 20):
            data.qpos[0] = position
            mujoco.mj_forward(model, data)
            assert np.array_equal(one.draw(data), other.draw(data))


def test_fast_edges_are_not_blended(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    with Renderer(RendererConfig(64, 64, "above"), model=model) as renderer:
        colours = np.unique(renderer.draw(data).reshape(-1, 3) // 16, axis=0)
    assert len(colours) == 5  # three plates, the ball, and nothing


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80)])
def test_faithful_is_what_the_environment_itself_draws(
    height: int, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo finds the XML old-fashioned, and leaves a log where it runs
    monkeypatch.setenv("MUJOCO_GL", "egl")  # gymnasium tries GLFW first, which fails without a display
    env = gymnasium.make("HalfCheetah-v5", render_mode="rgb_array", height=height, width=width, camera_name="track")
    env.reset(seed=0)
    env.action_space.seed(0)
    base: Any = env.unwrapped
    expected = []
    for _ in range(3):
        for _ in range(10):
            env.step(env.action_space.sample())
        expected.append((copy.copy(base.data), env.render()))
    env.close()
    with Renderer(RendererConfig(height, width, "track", "faithful"), model=base.model) as renderer:
        for data, frame in expected:
            assert np.array_equal(renderer.draw(data), frame)


@pytest.mark.parametrize("quality", ["fast", "faithful"])
def test_the_model_is_left_as_it_was(scene: tuple[mujoco.MjModel, mujoco.MjData], quality: Quality) -> None:
    model, _ = scene

    def settings() -> str:
        return f"{model.vis.global_}{model.vis.quality}{model.vis.map}{model.vis.headlight}"

    before = settings()
    with Renderer(RendererConfig(100, 90, "above", quality), model=model):
        assert settings() == before


def test_an_unknown_camera_is_refused_with_those_there_are(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    with pytest.raises(RendererError, match=r"'below'.*'above', 'from-the-side'"):
        Renderer(RendererConfig(camera="below"), model=scene[0])


def test_an_unknown_quality_is_refused_with_those_there_are() -> None:
    with pytest.raises(WorldModelError, match=r"'fats'.*fast.*faithful"):
        RendererConfig(quality="fats")  # type: ignore[arg-type]


def test_no_pixels_are_refused() -> None:
    with pytest.raises(WorldModelError, match="0 x 64"):
        RendererConfig(height=0)


def test_a_closed_renderer_says_so(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    renderer = Renderer(RendererConfig(8, 8), model=model)
    renderer.close()
    renderer.close()
    with pytest.raises(RendererError, match="closed"):
        renderer.draw(data)


def test_closing_one_renderer_leaves_the_others(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    with Renderer(RendererConfig(16, 16, "above"), model=model) as kept:
        before = kept.draw(data)
        Renderer(RendererConfig(24, 24, "above"), model=model).close()
        assert np.array_equal(kept.draw(data), before)
