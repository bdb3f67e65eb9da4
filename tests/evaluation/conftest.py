"""A report of control, for what reads several."""

from __future__ import annotations

import pytest

from worldmodel.evaluation.evaluate import ControlReport
from worldmodel.evaluation.interval import wilson
from worldmodel.planning.policy import PlanningConfig


@pytest.fixture
def control_report() -> ControlReport:
    """Nine of ten goals held, with training seed 0."""
    return ControlReport(
        env="worldmodel/Reacher-v0",
        env_arguments="{}",
        shifted=False,
        planning=PlanningConfig(planner="icem"),
        ahead=25,
        budget=50,
        training_seed=0,
        seed=0,
        success=wilson(9, 10),
        success_ever=wilson(10, 10),
        floors={"zero": wilson(1, 10), "explore": wilson(2, 10)},
        floors_ever={"zero": wilson(1, 10), "explore": wilson(2, 10)},
        oracle=None,
        oracle_ever=None,
        oracle_planner="icem",
        tolerance=0.025,
        unit="m",
        milliseconds_per_plan=100.0,
        milliseconds_for_one=10.0,
        model_share=0.9,
        plans=10,
        imagined_cost=0.1,
        achieved_cost=0.2,
        seconds=5.0,
    )
