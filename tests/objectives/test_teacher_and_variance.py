"""The teacher's and VICReg's formulas, by their known answers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from worldmodel.errors import WorldModelError
from worldmodel.objectives.teacher import TeacherConfig, follow
from worldmodel.objectives.variance import VarianceConfig, variance_covariance


@pytest.mark.parametrize(("progress", "keep"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
def test_a_teacher_follows_along_a_cosine(progress: float, keep: float) -> None:
    teacher, student = nn.Linear(1, 1), nn.Linear(1, 1)
    for layer, value in ((teacher, 2.0), (student, 4.0)):
        for parameter in layer.parameters():
            nn.init.constant_(parameter, value)
    follow(teacher, student, TeacherConfig(momentum=0.9), progress)
    for parameter in teacher.parameters():
        assert parameter.item() == pytest.approx(2 * keep + 4 * (1 - keep))
    for parameter in student.parameters():
        assert parameter.item() == 4


def test_a_momentum_is_a_share() -> None:
    with pytest.raises(WorldModelError, match=r"last_momentum is 1\.5"):
        TeacherConfig(last_momentum=1.5)


@pytest.mark.parametrize(("name", "value"), [("variance", -1.0), ("covariance", float("nan"))])
def test_a_weight_is_not_below_zero(name: str, value: float) -> None:
    with pytest.raises(WorldModelError, match=f"{name} is {value}; expected 0 or more"):
        VarianceConfig(**{name: value})


def test_the_covariance_is_not_rounded_where_matrices_are_multiplied_in_bfloat16() -> None:
    latents = torch.randn(64, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    plain = variance_covariance(latents, VarianceConfig())
    with torch.autocast("cpu", torch.bfloat16):
        other = variance_covariance(latents, VarianceConfig())
    assert torch.equal(other, plain)
    (expected,), (got,) = (torch.autograd.grad(value, latents) for value in (plain, other))
    assert torch.equal(got, expected)


def test_variance_and_covariance_known_answers() -> None:
    spread = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # variance 4 / 3, covariance 0
    assert variance_covariance(spread, VarianceConfig()).item() == pytest.approx(0, abs=1e-6)
    collapsed = torch.zeros(4, 2)
    assert variance_covariance(collapsed, VarianceConfig()).item() == pytest.approx(25 * (1 - 0.01), rel=1e-4)
    alike = spread[:, :1].expand(-1, 2)
    assert variance_covariance(alike, VarianceConfig()).item() == pytest.approx(2 * (4 / 3) ** 2 / 2, rel=1e-5)
