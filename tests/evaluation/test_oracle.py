"""With a perfect model the planner gets there."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from worldmodel.envs.reacher import Reacher
from worldmodel.envs.world import State
from worldmodel.evaluation.goals import Trial
from worldmodel.evaluation.oracle import BLIND, oracle, oracle_planner
from worldmodel.models.interface import Interface
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.icem import ICEMConfig
from worldmodel.planning.mppi import MPPIConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.planning.random_shooting import RandomShootingConfig
from worldmodel.planning.registry import PlannerName

INTERFACE = Interface("worldmodel/Reacher-v0", ("top",), 32, 32, "fast", 5, 0.02, (-1.0, -1.0), (1.0, 1.0))
CONFIG = PlanningConfig(
    planner="cem",
    horizon=3,
    cem=CEMConfig(candidates=24, rounds=3, elites=5),
    icem=ICEMConfig(candidates=24, rounds=3, elites=5),
    mppi=MPPIConfig(candidates=24, rounds=3),
    random=RandomShootingConfig(candidates=24, rounds=3),
)


@pytest.fixture
def trial() -> Trial:
    start, goal = (State(np.array(qpos), np.zeros(2), np.zeros(0), 0.0) for qpos in ([0.5, 1.0], [0.8, 1.3]))
    return Trial(0, 0, start, goal, np.zeros((32, 32, 3), np.uint8))


def test_it_gets_there_and_repeats(trial: Trial) -> None:
    told: list[tuple[int, int]] = []
    one, same = (
        oracle(CONFIG, INTERFACE, [trial], blocks=6, seed=0, progress=lambda done, all_: told.append((done, all_)))
        for _ in range(2)
    )
    assert np.array_equal(one.distance, same.distance)
    assert one.distance.shape == (1, 6 * 5 + 1)
    assert one.distance[0, 0] > 2 * Reacher.tolerance
    assert one.success(Reacher.tolerance).value == 1
    assert told == [(1, 1), (1, 1)]


@pytest.mark.parametrize("planner", BLIND)
def test_every_planner_that_needs_a_simulator_alone_plays(trial: Trial, planner: PlannerName) -> None:
    """And brings the arm nearer to its goal in four blocks."""
    assert oracle_planner(planner) == planner
    (distance,) = oracle(replace(CONFIG, planner=planner), INTERFACE, [trial], blocks=4, seed=0).distance
    assert distance[-1] < 0.5 * distance[0]


def test_cem_searches_in_place_of_a_planner_that_needs_more_than_a_simulator(trial: Trial) -> None:
    names: list[PlannerName] = [name for name in get_args(PlannerName) if name not in BLIND] + ["cem"]
    traces = [oracle(replace(CONFIG, planner=name), INTERFACE, [trial], blocks=1, seed=0).distance for name in names]
    assert all(np.array_equal(trace, traces[-1]) for trace in traces)
    assert [oracle_planner(name) for name in names] == ["cem"] * len(names)
