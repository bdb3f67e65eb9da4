"""What was read is scored by dimension, by kind, and as an angle."""

from __future__ import annotations

import math

import pytest
import torch

from worldmodel.evaluation.physical import Dimension
from worldmodel.evaluation.probes.readings import Spread, angles_of, score

DIMENSIONS = (
    Dimension("x", "m", "position"),
    Dimension("elbow sin", "", "position", angle="elbow"),
    Dimension("elbow cos", "", "position", angle="elbow"),
    Dimension("x velocity", "m/s", "velocity"),
)


def test_each_dimension_each_kind_and_angles_that_come_round() -> None:
    x, angle = torch.linspace(-1, 1, 50), torch.linspace(-math.pi, math.pi, 50)
    target = torch.stack([x, angle.sin(), angle.cos(), x], dim=1)
    turned = torch.stack([x + 0.1, (angle + 0.2).sin(), (angle + 0.2).cos(), torch.zeros(50)], dim=1)
    readings = score([target, turned], target, DIMENSIONS)
    assert angles_of(DIMENSIONS) == ("elbow",)
    assert readings.seeds == 2
    assert readings.rmse[0].mean == pytest.approx(0.05)
    assert readings.rmse[0].std == pytest.approx(0.1 / math.sqrt(2))
    assert readings.angle_rmse[0].mean == pytest.approx(0.1, rel=1e-4)
    assert readings.velocities == Spread(pytest.approx(0.5), pytest.approx(1 / math.sqrt(2)))  # type: ignore[arg-type]
    assert readings.positions is not None
    assert readings.positions.mean == pytest.approx(sum(r.mean for r in readings.r2[:3]) / 3)


def test_a_kind_that_is_not_there_has_no_score() -> None:
    target = torch.linspace(-1, 1, 9)[:, None]
    readings = score([target], target, DIMENSIONS[:1])
    assert readings.velocities is None
    assert readings.positions == Spread(1.0, 0.0)
