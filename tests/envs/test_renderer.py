"""Frames: upright, in true colours, the same again, and, when asked, what the environment itself would draw."""

from __future__ import annotations

import copy
import hashlib
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from worldmodel.envs.gl import GLContext, is_software, make_context
from worldmodel.envs.registry import make_world
from worldmodel.envs.renderer import Quality, Renderer, RendererConfig, find_camera
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


DIGEST = f"""
import hashlib, mujoco
from worldmodel.envs.renderer import Renderer, RendererConfig
model = mujoco.MjModel.from_xml_string('''{SCENE}''')
data = mujoco.MjData(model)
data.qpos[0] = 0.3
mujoco.mj_forward(model, data)
print(hashlib.sha256(Renderer(RendererConfig(64, 64, "above"), model=model).draw(data).tobytes()).hexdigest())
"""


def test_fast_pixels_repeat_exactly_across_processes(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    data.qpos[0] = 0.3
    mujoco.mj_forward(model, data)
    with Renderer(RendererConfig(64, 64, "above"), model=model) as renderer:
        here = hashlib.sha256(renderer.draw(data).tobytes()).hexdigest()
    for threads in ("0", "2"):  # whoever rasterises
        environment = os.environ | {"LP_NUM_THREADS": threads}
        there = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert there.stdout.strip() == here


@pytest.mark.parametrize(
    ("name", "camera", "height", "width"),
    [
        ("HalfCheetah-v5", "track", 64, 64),
        ("HalfCheetah-v5", "track", 48, 80),
        ("Reacher-v5", "", 64, 64),
        ("Pusher-v5", "", 40, 64),  # these two ask for a view of their own
        ("InvertedPendulum-v5", "", 64, 48),
    ],
)
def test_faithful_is_what_the_environment_itself_draws(
    name: str, camera: str, height: int, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo finds the XML old-fashioned, and leaves a log where it runs
    monkeypatch.setenv("MUJOCO_GL", "egl")  # gymnasium tries GLFW first, which fails without a display
    asked = {"camera_name": camera} if camera else {}
    env = gymnasium.make(name, render_mode="rgb_array", height=height, width=width, **asked)
    env.reset(seed=int(np.random.default_rng(0).integers(2**31)))
    env.render()  # its free camera stays where it finds the geoms now, as `World.viewpoint` promises for seed 0
    env.action_space.seed(0)
    base: Any = env.unwrapped
    with closing(make_world(name)) as world:
        view = world.viewpoint(camera)
    expected = []
    for _ in range(3):
        for _ in range(5):
            env.step(env.action_space.sample())
        expected.append((copy.copy(base.data), env.render()))
    with Renderer(RendererConfig(height, width, camera, "faithful"), model=base.model) as renderer:
        for data, frame in expected:
            assert frame.std() > 10
            assert np.array_equal(renderer.draw(data, camera=view), frame)
    env.close()


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


def test_one_context_draws_from_several_cameras(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    names = ("above", "from-the-side", "")
    alone = []
    for name in names:
        with Renderer(RendererConfig(32, 40, name), model=model) as renderer:
            alone.append(renderer.draw(data))
    with Renderer(RendererConfig(32, 40, "above"), model=model) as renderer:
        for _ in range(2):
            for name, frame in zip(names, alone, strict=True):
                assert np.array_equal(renderer.draw(data, camera=find_camera(model, name)), frame)
        assert np.array_equal(renderer.draw(data), alone[0])
    assert not np.array_equal(alone[0], alone[1])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 13), (8, 300), (224, 224), (512, 512), (512, 384)])
def test_frames_of_any_size_show_the_same(height: int, width: int, scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    with Renderer(RendererConfig(height, width, "above"), model=model) as renderer:
        frame = renderer.draw(data)
        ids = renderer.draw(data, channel="segmentation")
        depth = renderer.draw(data, channel="depth")
    assert frame.shape == (height, width, 3)
    assert ids.shape == (height, width, 2)
    # The green plate, 0.7 m up of 2 m x tan 30 degrees from the middle to the edge.
    row, column = int((1 - 0.7 / (2 * np.tan(np.radians(30)))) * height / 2), width // 2
    assert frame[row, column].argmax() == 1
    assert tuple(ids[row, column]) == (1, mujoco.mjtObj.mjOBJ_GEOM)
    assert depth[row, column] == pytest.approx(1.99, rel=1e-5)


def test_what_cannot_be_drawn_into_is_refused(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    model, data = scene
    with Renderer(RendererConfig(16, 24, "above"), model=model) as renderer:
        with pytest.raises(RendererError, match=r"uint8 \[24, 16, 3\]; expected uint8 \[16, 24, 3\] for 'rgb'"):
            renderer.draw(data, np.empty((24, 16, 3), np.uint8))
        with pytest.raises(RendererError, match=r"float64 \[16, 24\]; expected float32"):
            renderer.draw(data, np.empty((16, 24)), channel="depth")
        with pytest.raises(RendererError, match=r"expected int32 \[16, 24, 2\] for 'segmentation'"):
            renderer.draw(data, np.empty((16, 24, 3), np.uint8), channel="segmentation")
        with pytest.raises(WorldModelError, match=r"Unknown channel 'dept'.*'depth'"):
            renderer.draw(data, channel="dept")  # type: ignore[arg-type]


def test_frames_too_large_for_opengl_are_refused(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    with pytest.raises(RendererError, match="100000 x 100000"):
        Renderer(RendererConfig(100_000, 100_000), model=scene[0])


def test_a_context_that_cannot_draw_is_freed(
    scene: tuple[mujoco.MjModel, mujoco.MjData], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = scene
    made: list[GLContext] = []
    freed: set[int] = set()

    def make(width: int, height: int) -> tuple[GLContext, str]:
        context, backend = make_context(min(width, 64), min(height, 64))
        number, free = len(made), context.free
        made.append(context)
        monkeypatch.setattr(context, "free", lambda: (freed.add(number), free()))
        return context, backend

    monkeypatch.setattr("worldmodel.envs.renderer.make_context", make)
    with Renderer(RendererConfig(16, 24), model=model) as renderer:
        before = renderer.draw(data)
        with pytest.raises(RendererError, match="100000 x 100000"):
            Renderer(RendererConfig(100_000, 100_000), model=model)
        assert freed == {1}
        assert np.array_equal(renderer.draw(data), before)


def test_no_geom_is_dropped_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a log where it runs
    # A slack rope is drawn as a curve of 30 pieces: together more geoms than a scene of this model starts with.
    ropes = range(90)
    sites = "".join(
        f'<site name="a{i}" pos="-.3 {(i - 45) / 100} 0"/><site name="b{i}" pos=".3 {(i - 45) / 100} 0"/>'
        for i in ropes
    )
    tendons = "".join(
        f'<spatial range="0 1" width=".005"><site site="a{i}"/><site site="b{i}"/></spatial>' for i in ropes
    )
    model = mujoco.MjModel.from_xml_string(
        f"""
        <mujoco>
          <compiler autolimits="true"/>
          <worldbody><camera name="above" pos="0 0 2" projection="orthographic" fovy="1"/>{sites}</worldbody>
          <tendon>{tendons}</tendon>
        </mujoco>
        """
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with Renderer(RendererConfig(256, 64, "above"), model=model) as renderer:
        ids = renderer.draw(data, channel="segmentation")
    drawn = {number for number, kind in ids.reshape(-1, 2) if kind == mujoco.mjtObj.mjOBJ_TENDON}
    assert drawn == set(ropes)


def test_depth_is_metres_along_the_optical_axis() -> None:
    """A floor 3 m below, a transparent block whose top is 2.5 m below, and, looking away, nothing."""
    model = mujoco.MjModel.from_xml_string(
        """
        <mujoco>
          <statistic extent="2"/>
          <visual><map znear=".005" zfar="20"/></visual>
          <worldbody>
            <camera name="above" pos="0 0 3" fovy="60"/>
            <camera name="parallel" pos="0 0 3" projection="orthographic" fovy="3"/>
            <camera name="away" pos="0 0 3" xyaxes="1 0 0 0 -1 0"/>
            <geom type="plane" size="0 0 1"/>
            <geom type="box" size=".2 .2 .25" pos="0 0 .25" rgba="1 0 0 .3"/>
          </worldbody>
        </mujoco>
        """
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    for quality in ("fast", "faithful"):
        with Renderer(RendererConfig(33, 45, "above", quality), model=model) as renderer:
            depth = renderer.draw(data, channel="depth")
            assert depth.dtype == np.float32
            assert depth[16, 22] == pytest.approx(2.5, rel=1e-6)
            assert depth[[0, 0, -1, -1], [0, -1, 0, -1]] == pytest.approx(3, rel=1e-6)  # not longer in the corners
            assert set(np.round(np.unique(depth), 4)) == {2.5, 3}  # edges are not averaged
            parallel = renderer.draw(data, camera=find_camera(model, "parallel"), channel="depth")
            assert parallel[16, 22] == pytest.approx(2.5, abs=1e-5)
            assert parallel[0, 0] == pytest.approx(3, abs=1e-5)
            assert (renderer.draw(data, camera=find_camera(model, "away"), channel="depth") == 40).all()


@pytest.mark.parametrize("quality", ["fast", "faithful"])
def test_segmentation_names_each_object_and_nothing_else(
    scene: tuple[mujoco.MjModel, mujoco.MjData], quality: Quality
) -> None:
    model, data = scene
    geom = int(mujoco.mjtObj.mjOBJ_GEOM)
    with Renderer(RendererConfig(64, 64, "above", quality), model=model) as renderer:
        ids = renderer.draw(data, channel="segmentation")
        frame = renderer.draw(data)
    assert ids.dtype == np.int32
    assert {tuple(pair) for pair in ids.reshape(-1, 2)} == {(-1, -1), (0, geom), (1, geom), (2, geom), (3, geom)}
    assert tuple(ids[32, 51]) == (0, geom)
    assert tuple(ids[13, 32]) == (1, geom)
    assert tuple(ids[32, 13]) == (2, geom)
    assert tuple(ids[32, 32]) == (3, geom)
    if quality == "fast":
        assert np.array_equal(ids[..., 0] >= 0, frame.max(axis=2) > 0)


def test_depth_and_segmentation_are_those_of_mujoco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    env = gymnasium.make("HalfCheetah-v5")
    env.reset(seed=0)
    base: Any = env.unwrapped
    monkeypatch.setattr(
        "mujoco.rendering.classic.renderer.gl_context.GLContext",
        lambda width, height: make_context(width, height)[0],  # it was chosen when MuJoCo was imported
    )
    theirs = mujoco.Renderer(base.model, 48, 64)
    theirs.update_scene(base.data)
    theirs.enable_depth_rendering()
    depth = theirs.render()
    theirs.enable_segmentation_rendering()
    ids = theirs.render()
    theirs.close()
    for quality, alike in (("fast", 0.98), ("faithful", 1.0)):  # fast draws round shapes with fewer sides
        with Renderer(RendererConfig(48, 64, "", quality), model=base.model) as renderer:  # type: ignore[arg-type]
            assert np.isclose(renderer.draw(base.data, channel="depth"), depth, rtol=1e-2).mean() >= alike
            assert (renderer.draw(base.data, channel="segmentation") == ids).mean() >= alike
            if quality == "faithful":
                assert np.array_equal(renderer.draw(base.data, channel="depth"), depth)
            before = renderer.draw(base.data)
            renderer.draw(base.data, channel="segmentation")
            assert np.array_equal(renderer.draw(base.data), before)  # the next picture is in true colours again
    env.close()


SOFT = """
<mujoco>
  <worldbody>
    <camera name="above" pos="0 0 1.5"/>
    <body name="cloth" pos="0 0 0">
      <flexcomp type="grid" count="6 6 1" spacing=".1 .1 .1" dim="2" name="sheet" radius=".005" rgba="1 0 0 1"/>
    </body>
    <body name="bone" pos="0 .6 0"><joint type="free"/><geom size=".01"/></body>
  </worldbody>
  <deformable>
    <skin name="skin" rgba="0 0 1 1" vertex="0 0 0  .3 0 0  0 .3 0" face="0 1 2  0 2 1">
      <bone body="bone" bindpos="0 0 0" bindquat="1 0 0 0" vertid="0 1 2" vertweight="1 1 1"/>
    </skin>
  </deformable>
</mujoco>
"""


@pytest.mark.parametrize("quality", ["fast", "faithful"])
def test_flexes_and_skins_are_drawn(quality: Quality, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a log where it runs
    model = mujoco.MjModel.from_xml_string(SOFT)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with Renderer(RendererConfig(64, 64, "above", quality), model=model) as renderer:
        frame = renderer.draw(data).astype(int)
        kinds = set(renderer.draw(data, channel="segmentation")[..., 1].flat)
        depth = renderer.draw(data, channel="depth")
    assert (frame[..., 0] > frame[..., 2] + 20).any()
    assert (frame[..., 2] > frame[..., 0] + 20).any()
    assert {mujoco.mjtObj.mjOBJ_FLEX, mujoco.mjtObj.mjOBJ_SKIN} <= kinds
    assert depth.min() == pytest.approx(1.49, abs=0.02)


def test_who_draws_is_told(scene: tuple[mujoco.MjModel, mujoco.MjData]) -> None:
    with Renderer(RendererConfig(8, 8), model=scene[0]) as renderer:
        assert renderer.gl_renderer
        assert renderer.software == is_software(renderer.gl_renderer)
