"""Worlds by name."""

from __future__ import annotations

import pytest

from worldmodel.envs.registry import make_task, make_world
from worldmodel.errors import WorldModelError


def test_an_unknown_environment_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        WorldModelError, match=r"'HalfChetah-v5'.*mean 'HalfCheetah-v5'.*worldmodel/Reacher-v0"
    ) as error:
        make_world("HalfChetah-v5")
    assert "-v3" not in str(error.value)  # too old to be made


def test_an_unknown_task_is_refused_with_those_there_are() -> None:
    with pytest.raises(WorldModelError, match=r"'reacher'.*worldmodel/Reacher-v0"):
        make_task("reacher")


def test_an_environment_without_mujoco_is_refused() -> None:
    with pytest.raises(WorldModelError, match="'CartPole-v1' has no MuJoCo model"):
        make_world("CartPole-v1")


def test_an_environment_that_lacks_a_package_is_refused() -> None:
    with pytest.raises(WorldModelError, match="'Ant-v3' cannot be made"):
        make_world("Ant-v3")
