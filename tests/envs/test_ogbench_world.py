"""OGBench's environments keep their own rules and draw nothing for themselves."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from worldmodel.envs.registry import make_world

pytest.importorskip("ogbench")


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("cube-single-v0", "front"),
        ("visual-cube-single-v0", "front_pixels"),
        ("antmaze-medium-v0", ""),
        ("visual-antmaze-medium-v0", "back"),
    ],
)
def test_it_is_filmed_from_where_it_films_itself(name: str, camera: str) -> None:
    world = make_world(name)
    assert world.camera == camera
    assert (world.observation is None) == name.startswith("visual")  # blank pictures are not what a policy expects
    world.close()


def test_a_maze_is_seen_from_above() -> None:
    world = make_world("antmaze-medium-v0")
    assert world.viewpoint("").elevation == -90
    world.close()


def test_looks_are_those_of_the_visual_variant() -> None:
    rgba = {}
    for name in ("cube-single-v0", "visual-cube-single-v0"):
        world = make_world(name)
        rgba[name] = world.model.material("ur5e/robotiq/black").rgba.copy()
        world.close()
    assert rgba["cube-single-v0"][3] == 1
    assert rgba["visual-cube-single-v0"][3] == pytest.approx(0.1)  # the arm must not hide the cube


def test_all_of_the_start_follows_from_the_seed() -> None:
    world = make_world("visual-scene-v0")
    starts = []
    for seed in (3, 8, 3):  # it takes two steps with actions from nowhere before it starts
        world.reset(np.random.default_rng(seed))
        state = world.state()
        starts.append(np.concatenate([state.qpos, state.qvel, state.extra, world.visual()]))
    assert np.array_equal(starts[0], starts[2])
    assert not np.array_equal(starts[0], starts[1])
    world.close()


def test_making_one_opens_no_window_and_says_nothing() -> None:
    program = """
import sys, numpy as np
from worldmodel.envs.registry import make_world
for name in ("visual-cube-single-v0", "visual-antmaze-medium-v0", "dm_control/cheetah-run", "PointMaze_UMaze-v3"):
    world = make_world(name)
    world.reset(np.random.default_rng(0))
    world.step(world.low)
    world.close()
print(sorted({"OpenGL", "torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
