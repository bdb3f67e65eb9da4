"""A plain MJCF file is a world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from worldmodel.envs.registry import make_world
from worldmodel.envs.world import World
from worldmodel.errors import WorldModelError

BODY = '<body pos="0 0 1"><joint name="j" {joint}/><geom size=".1"/></body>'


def world_of(folder: Path, inside: str) -> World:
    path = folder / "robot.xml"
    path.write_text(f"<mujoco>{inside}</mujoco>")
    return make_world(str(path))


def model(joint: str = "", rest: str = "") -> str:
    return f"<worldbody>{BODY.format(joint=joint)}</worldbody>{rest}"


def test_actuators_without_limits_take_controls_between_minus_one_and_one(tmp_path: Path) -> None:
    motors = '<motor joint="j"/><motor joint="j" ctrlrange="-2 3"/>'
    world = world_of(tmp_path, model(rest=f"<actuator>{motors}</actuator>"))
    assert world.low.tolist() == [-1, -2]
    assert world.high.tolist() == [1, 3]


def test_a_model_without_actuators_just_falls(tmp_path: Path) -> None:
    world = world_of(tmp_path, '<worldbody><body pos="0 0 9"><freejoint/><geom size=".1"/></body></worldbody>')
    world.reset(np.random.default_rng(0))
    height = world.data.qpos[2]
    for _ in range(10):
        world.step(np.zeros(0, np.float32))
    assert height - world.data.qpos[2] == pytest.approx(9.81 * 0.2**2 / 2, abs=0.05)


@pytest.mark.parametrize(("timestep", "steps"), [("0.002", 10), ("0.005", 4), ("0.003", 7), ("0.05", 1)])
def test_a_control_step_is_the_fewest_physics_steps_that_last_a_fiftieth_of_a_second(
    tmp_path: Path, timestep: str, steps: int
) -> None:
    world = world_of(tmp_path, f'<option timestep="{timestep}"/>' + model())
    assert world.control_seconds == pytest.approx(steps * float(timestep))


def test_episodes_start_near_home_within_the_joint_s_range_and_differ(tmp_path: Path) -> None:
    keys = '<keyframe><key qpos="0"/><key name="home" qpos="1.1"/></keyframe>'
    world = world_of(tmp_path, '<compiler angle="radian"/>' + model('range="-0.9 1.1"', keys))
    starts = []
    for seed in range(50):
        world.reset(np.random.default_rng(seed))
        starts.append(world.data.qpos[0])
    assert max(starts) <= 1.1
    assert 1.0 <= min(starts) < 1.02  # 5 % of the range of 2 rad
    assert len(set(starts)) > 20


def test_episodes_start_from_the_first_keyframe_where_none_is_called_home(tmp_path: Path) -> None:
    world = world_of(tmp_path, model(rest='<keyframe><key qpos="2"/><key qpos="0"/></keyframe>'))
    world.reset(np.random.default_rng(0))
    assert world.data.qpos[0] == pytest.approx(2, abs=0.05)


def test_it_is_filmed_by_its_first_camera(tmp_path: Path) -> None:
    cameras = '<worldbody><camera name="one"/><camera name="two"/></worldbody>'
    assert world_of(tmp_path, cameras).camera == "one"
    assert world_of(tmp_path, model()).camera == ""


def test_it_tells_its_model(tmp_path: Path) -> None:
    assert world_of(tmp_path, model()).mjcf == f"<mujoco>{model()}</mujoco>"


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WorldModelError, match=r"no file '.*gone\.xml'"):
        make_world(str(tmp_path / "gone.xml"))


@pytest.mark.parametrize(
    ("text", "answer"), [("<mujoco><worldbdy/></mujoco>", "worldbdy"), ("no xml", "XML"), ("", "XML")]
)
def test_what_mujoco_refuses_is_told_with_its_words(tmp_path: Path, text: str, answer: str) -> None:
    path = tmp_path / "broken.xml"
    path.write_text(text)
    with pytest.raises(WorldModelError, match=rf"cannot load '.*broken\.xml': .*{answer}"):
        make_world(str(path))


def test_a_simulation_that_diverges_is_refused_until_the_next_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a log where it runs
    world = world_of(tmp_path, model(rest='<actuator><motor joint="j" gear="1e15"/></actuator>'))
    still, hard = np.zeros(1, np.float32), np.ones(1, np.float32)
    world.reset(np.random.default_rng(0))
    world.step(still)
    world.check_alive()
    for _ in range(2):
        world.step(hard)
        with pytest.raises(WorldModelError, match=r"diverged \(mjWARN_BADQACC\).*time step"):
            world.check_alive()
    world.reset(np.random.default_rng(0))
    world.step(still)
    world.check_alive()
