"""What a robot feels: its own actuated joints, and nothing else."""

from __future__ import annotations

import gymnasium
import mujoco
import numpy as np
import pytest

from worldmodel.envs.proprioception import Proprioception, proprioception_of
from worldmodel.envs.reacher import Reacher
from worldmodel.envs.registry import make_task
from worldmodel.errors import WorldModelError
from worldmodel.tasks import TASKS

# As in dm_control's suite: a finger closed by a fixed tendon, a leg pulled by a spatial one, and a propeller.
TENDONS = """
<mujoco>
  <worldbody>
    <site name="anchor"/>
    <body name="trunk">
      <joint name="lift" type="slide" axis="0 0 1"/>
      <geom size=".1"/>
      <site name="hip"/>
      <body name="thigh"><joint name="hip" axis="0 1 0"/><geom size=".1"/>
        <body name="shin" pos="0 0 -1"><joint name="knee" axis="0 1 0"/><geom size=".1"/><site name="foot"/>
          <body name="toe"><joint name="toe" axis="0 1 0"/><geom size=".1"/></body>
        </body>
      </body>
      <body name="finger"><joint name="finger" axis="0 1 0"/><geom size=".1"/>
        <body name="tip"><joint name="tip" axis="0 1 0"/><geom size=".1"/></body>
      </body>
    </body>
    <body name="ball"><freejoint/><geom size=".1"/></body>
  </worldbody>
  <tendon>
    <fixed name="close"><joint joint="finger" coef="1"/><joint joint="tip" coef=".5"/></fixed>
    <spatial name="pull"><site site="hip"/><site site="foot"/></spatial>
  </tendon>
  <actuator>{actuators}</actuator>
</mujoco>
"""

FELT = {  # the joints of each task's robot, and how many numbers tell of them
    "worldmodel/Reacher-v0": (["shoulder", "elbow"], 6),
    "worldmodel/ThreeLinkReacher-v0": (["shoulder", "elbow", "wrist"], 9),
    "worldmodel/TwoRoom-v0": (["x", "y"], 4),
    "worldmodel/PushT-v0": (["x", "y"], 4),
    "worldmodel/PointMaze-v0": (["x", "y"], 4),
    "worldmodel/Cartpole-v0": (["slider"], 2),
    "worldmodel/Cube-v0": (["x", "y", "z", "yaw", "left", "right"], 13),
    "worldmodel/Rope-v0": (["x", "y"], 4),
}


def named(model: mujoco.MjModel) -> list[str]:
    return [joint.name for joint in proprioception_of(model).joints]


@pytest.mark.parametrize("task", TASKS)
def test_it_feels_the_robots_joints_and_no_object(task: str) -> None:
    world, (joints, size) = make_task(task), FELT[task]
    sense = proprioception_of(world.model)
    assert [joint.name for joint in sense.joints] == joints
    assert sense.size == size
    world.reset(np.random.default_rng(0))
    felt = sense(world.data.qpos, world.data.qvel)
    assert (felt.shape, felt.dtype) == ((size,), np.float32)
    others = np.ones(world.model.nq, bool)
    others[[joint.qpos for joint in sense.joints]] = False
    changed = world.data.qpos + others
    assert np.array_equal(sense(changed, world.data.qvel), felt)


def test_known_answer() -> None:
    sense = proprioception_of(Reacher().model)
    qpos, qvel = np.array([[0.0, np.pi / 2], [np.pi, -np.pi / 2]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(sense(qpos, qvel), [[0, 1, 1, 1, 0, 2], [0, -1, 3, -1, 0, 4]], atol=1e-6)
    assert Proprioception()(qpos, qvel).shape == (2, 0)


@pytest.mark.parametrize(
    ("actuators", "joints"),
    [
        ('<motor tendon="close"/>', ["finger", "tip"]),
        ('<motor tendon="pull"/>', ["hip", "knee"]),
        ('<motor joint="toe"/><motor tendon="pull"/><motor jointinparent="lift"/>', ["lift", "hip", "knee", "toe"]),
    ],
)
def test_tendons_are_followed_to_the_joints_that_they_move(actuators: str, joints: list[str]) -> None:
    assert named(mujoco.MjModel.from_xml_string(TENDONS.format(actuators=actuators))) == joints


def test_a_robot_that_drives_no_joint_feels_nothing_of_itself() -> None:
    model = mujoco.MjModel.from_xml_string(TENDONS.format(actuators='<motor site="foot" gear="0 0 1 0 0 0"/>'))
    with pytest.raises(WorldModelError, match="None of the model's 1 actuators acts on a joint"):
        proprioception_of(model)


def test_balls_turn_without_a_jump_in_sign() -> None:
    body = '<body><joint name="b" type="ball"/><geom size=".1"/></body>'
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><worldbody>{body}</worldbody><actuator><motor joint="b" gear="1 0 0"/></actuator></mujoco>'
    )
    sense, still = proprioception_of(model), np.zeros(3)
    assert sense.size == 7
    turned = np.array([0.6, 0.8, 0, 0])
    np.testing.assert_allclose(sense(-2 * turned, still), [0.6, 0.8, 0, 0, 0, 0, 0], atol=1e-6)


def test_an_environment_shows_it_when_asked() -> None:
    plain, feeling = (gymnasium.make("worldmodel/PushT-v0", proprioception=asked) for asked in (False, True))
    observation, _ = feeling.reset(seed=0)
    assert feeling.observation_space.contains(observation)
    observation, *_ = feeling.step(np.ones(2, np.float32))
    data = feeling.unwrapped.data
    expected = [data.qpos[0], data.qvel[0], data.qpos[1], data.qvel[1]]
    np.testing.assert_allclose(observation["proprioception"], expected, rtol=1e-6)
    assert set(plain.reset(seed=0)[0]) == {"image", "goal"}
    plain.close()
    feeling.close()
