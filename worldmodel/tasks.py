"""The names of our tasks, and where each is defined: light enough to be imported with the package.

A task is a class in `envs/<task>.py`, with its model in `envs/<task>.xml` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

TASKS: Mapping[str, str] = {
    "worldmodel/Reacher-v0": "worldmodel.envs.reacher:Reacher",
    "worldmodel/ThreeLinkReacher-v0": "worldmodel.envs.three_link_reacher:ThreeLinkReacher",
    "worldmodel/TwoRoom-v0": "worldmodel.envs.two_room:TwoRoom",
    "worldmodel/PushT-v0": "worldmodel.envs.push_t:PushT",
    "worldmodel/PointMaze-v0": "worldmodel.envs.point_maze:PointMaze",
    "worldmodel/Cartpole-v0": "worldmodel.envs.cartpole:Cartpole",
    "worldmodel/Cube-v0": "worldmodel.envs.cube:Cube",
    "worldmodel/Rope-v0": "worldmodel.envs.rope:Rope",
}
