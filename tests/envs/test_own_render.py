"""Drawn faithfully, a world looks as its environment draws itself, to the last bit."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from worldmodel.envs.reacher import Reacher
from worldmodel.envs.renderer import Renderer, RendererConfig

# Each draws with OpenGL of its own, chosen by MUJOCO_GL when it is imported: hence a process of its own.
PROGRAM = """
import sys
import mujoco, numpy as np
try:
    import dm_control.suite, ogbench  # before worldmodel would keep OpenGL from them
except ImportError:
    pass
from worldmodel.envs.gymnasium_world import GymnasiumWorld
from worldmodel.envs.registry import make_world
from worldmodel.envs.renderer import Renderer, RendererConfig

name = sys.argv[1]
world = make_world(name)
if name.startswith("dm_control/"):
    env, own = world._env, world
    draw = lambda: env.physics.render(64, 64, camera_id=world.camera)
elif name.startswith("visual-"):
    own = GymnasiumWorld(name, {})  # draws its observations; another simulation, whose state and looks ours takes
    draw = own._env.unwrapped.render
else:
    own = GymnasiumWorld(name, {"render_mode": "rgb_array", "width": 64, "height": 64})
    own._env.render()  # places its camera by the first thing it sees
    draw = own._env.render
config = RendererConfig(64, 64, quality="faithful")
with Renderer(config, model=world.model) as renderer:
    own.reset(np.random.default_rng(1))
    own.step(own.high)
    mujoco.mj_forward(own.model, own.data)
    theirs = draw()
    world.set_visual(own.visual())
    world.set_state(own.state())
    camera = "" if name == "HalfCheetah-v5" else world.camera
    ours = renderer.draw(world.drawable(), camera=world.viewpoint(camera))
    print(ours.std() > 5, int(np.abs(ours.astype(int) - theirs).max()))
"""


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("HalfCheetah-v5", "gymnasium"),
        ("Pusher-v5", "gymnasium"),
        ("dm_control/reacher-easy", "dm_control"),
        ("PointMaze_UMaze-v3", "gymnasium_robotics"),
        ("FetchPush-v4", "gymnasium_robotics"),
        ("HandManipulateBlock-v1", "gymnasium_robotics"),
        ("FrankaKitchen-v1", "gymnasium_robotics"),
        ("visual-cube-single-v0", "ogbench"),
        ("visual-antmaze-medium-v0", "ogbench"),
    ],
)
def test_it_looks_as_it_draws_itself(name: str, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    with Renderer(RendererConfig(8, 8), model=Reacher().model) as renderer:
        backend = renderer.backend
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, name],
        capture_output=True,
        text=True,
        env=os.environ | {"MUJOCO_GL": backend},
    )
    assert done.stdout == "True 0\n", done.stderr[-2000:]
