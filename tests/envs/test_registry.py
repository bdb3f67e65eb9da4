"""Worlds by name."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from worldmodel.envs.registry import TASKS, make_task, make_world, world_names
from worldmodel.errors import WorldModelError


def test_an_unknown_environment_is_refused_with_those_there_are() -> None:
    with pytest.raises(WorldModelError, match=r"'HalfChetah-v5'.*mean 'HalfCheetah-v5'.*worldmodel envs") as error:
        make_world("HalfChetah-v5")
    assert "-v3" not in str(error.value)  # too old to be made
    assert len(str(error.value)) < 500  # near ones, not all


def test_an_unknown_task_is_refused_with_those_there_are() -> None:
    with pytest.raises(WorldModelError, match=r"'reacher'.*worldmodel/Reacher-v0"):
        make_task("reacher")


def test_an_environment_without_mujoco_is_refused() -> None:
    with pytest.raises(WorldModelError, match="'CartPole-v1' has no MuJoCo model"):
        make_world("CartPole-v1")


def test_an_environment_that_lacks_a_package_is_refused() -> None:
    with pytest.raises(WorldModelError, match="'Ant-v3' cannot be made"):
        make_world("Ant-v3")


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("dm_control/reacher-easy", "dm-control"),
        ("visual-cube-single-v7", "ogbench"),
        ("PointMaze_UMaze-v7", "robotics"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(WorldModelError, match=rf"'{name}' needs the package .*pip install 'worldmodel\[{extra}\]'"):
        make_world(name)


def test_arguments_reach_the_environment() -> None:
    quiet, usual = make_world("HalfCheetah-v5", '{"reset_noise_scale": 0.0}'), make_world("HalfCheetah-v5")
    for world in (quiet, usual):
        world.reset(np.random.default_rng(0))
    assert not quiet.data.qvel.any()
    assert usual.data.qvel.any()


@pytest.mark.parametrize("arguments", ["{", "[1]", "reset_noise_scale=0"])
def test_arguments_that_are_not_a_json_object_are_refused(arguments: str) -> None:
    with pytest.raises(WorldModelError, match=rf"{re.escape(repr(arguments))}.*expected a JSON object"):
        make_world("HalfCheetah-v5", arguments)


def test_arguments_that_the_environment_does_not_take_are_refused() -> None:
    with pytest.raises(WorldModelError, match=r"'HalfCheetah-v5' cannot be made with arguments .*nonsense"):
        make_world("HalfCheetah-v5", '{"nonsense": 1}')


def test_a_plain_model_refuses_arguments() -> None:
    with pytest.raises(WorldModelError, match=r"'some.xml' takes no arguments"):
        make_world("some.xml", '{"size": 1}')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('{"size": 1}', r"argument of 'worldmodel/TwoRoom-v0' 'size'.*Valid: door, variation"),
        ('{"door": "left"}', r"'worldmodel/TwoRoom-v0'.door is 'left'; expected .*'middle', 'random'"),
        ('{"variation": {"color": 1}}', r"'color'. Did you mean 'colour'\?"),
        ('{"variation": {"colour": 2}}', r"Variation of colour is 2.*expected 0 \(none\) to 1"),
        ('{"variation": 1}', r"variation is 1; expected an object"),
    ],
)
def test_a_task_refuses_arguments_that_it_does_not_take(arguments: str, message: str) -> None:
    with pytest.raises(WorldModelError, match=message):
        make_world("worldmodel/TwoRoom-v0", arguments)


def test_a_task_takes_its_configuration_as_arguments() -> None:
    task = make_task("worldmodel/TwoRoom-v0", '{"door": "random", "variation": {"mass": 1}}')
    assert task.sample(np.random.default_rng(0)).qpos[2] != 0
    assert task.model.body("ball").mass[0] != make_task("worldmodel/TwoRoom-v0").model.body("ball").mass[0]


def test_an_environment_that_this_mujoco_breaks_is_refused_with_the_line_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(**arguments: object) -> None:
        raise AssertionError

    monkeypatch.setitem(gymnasium.registry, "Broken-v0", EnvSpec("Broken-v0", broken))
    with pytest.raises(WorldModelError, match=r"'Broken-v0' cannot be made: AssertionError at `raise AssertionError`"):
        make_world("Broken-v0")


def test_the_names_of_all_worlds_are_told_by_package() -> None:
    names = world_names()
    assert names["worldmodel"] == list(TASKS)
    assert "HalfCheetah-v5" in names["gymnasium"]
    assert "HalfCheetah-v4" not in names["gymnasium"]
    for package, name in (
        ("dm_control", "dm_control/cheetah-run"),
        ("ogbench", "visual-cube-single-v0"),
        ("gymnasium_robotics", "PointMaze_UMaze-v3"),
    ):
        assert (name in names.get(package, [])) == (importlib.util.find_spec(package) is not None)


def test_optional_packages_are_imported_only_for_their_worlds() -> None:
    program = (
        "import sys; from worldmodel.envs.registry import make_world; make_world('HalfCheetah-v5');"
        "print(sorted({'dm_control', 'ogbench', 'gymnasium_robotics', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
