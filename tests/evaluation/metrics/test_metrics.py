"""Every metric gives the answer that is known beforehand."""

from __future__ import annotations

import math

import pytest
import torch

from worldmodel.evaluation.metrics.cka import linear_cka
from worldmodel.evaluation.metrics.lidar import lidar
from worldmodel.evaluation.metrics.rankme import rankme
from worldmodel.evaluation.metrics.rollout import rollout_error
from worldmodel.evaluation.metrics.spearman import distance_correlation, ranks, spearman
from worldmodel.evaluation.metrics.spectrum import alpha_req
from worldmodel.evaluation.metrics.uniformity import alignment, uniformity
from worldmodel.objectives.straightness import straightness

D = 12


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def gaussian(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator)


def test_rankme_counts_directions(generator: torch.Generator) -> None:
    axes = torch.cat([torch.eye(6), -torch.eye(6)])
    assert rankme(axes + 5) == pytest.approx(6, rel=1e-3)
    assert rankme(axes * torch.tensor([1.0, 1, 1, 0, 0, 0])) == pytest.approx(3, rel=1e-3)
    assert rankme(axes * torch.tensor([1.0, 0, 0, 0, 0, 0])) == pytest.approx(1, rel=1e-3)
    share = torch.tensor([0.75, 0.25])
    expected = float(torch.exp(-(share * share.log()).sum()))
    assert rankme(axes * torch.tensor([3.0, 1, 0, 0, 0, 0])) == pytest.approx(expected, rel=1e-3)
    assert rankme(gaussian(generator, 5000, D)) == pytest.approx(D, rel=0.01)


def test_lidar_counts_directions_that_differ_between_groups(generator: torch.Generator) -> None:
    places, noise = gaussian(generator, 3000, 1, D), gaussian(generator, 3000, 6, D)
    assert lidar(30 * places + noise) == pytest.approx(D, rel=0.02)
    few = torch.zeros(D)
    few[:3] = 1000
    assert lidar(few * places + noise) == pytest.approx(3, rel=0.02)
    # a direction with ten times the variance, of noise alone, counts for RankMe and not for LiDAR
    loud = torch.ones(D)
    loud[3:] = 10
    assert lidar(few * places + loud * noise) == pytest.approx(3, rel=0.02)
    assert lidar(7 * (few * places + noise)) == pytest.approx(lidar(few * places + noise), rel=1e-6)


def test_alpha_req_finds_the_exponent(generator: torch.Generator) -> None:
    axes, _ = torch.linalg.qr(gaussian(generator, 400, D).double())
    axes = torch.linalg.qr(axes - axes.mean(0))[0]  # centred and orthogonal: the covariance is exact
    for alpha in (0.0, 0.5, 1.0, 2.0):
        scale = torch.arange(1, D + 1).double() ** (-alpha / 2)
        assert alpha_req(axes * scale) == pytest.approx(alpha, abs=1e-6)
    assert alpha_req(axes[:, :1] @ torch.ones(1, D).double()) == math.inf


def test_straightness_of_lines_corners_and_returns() -> None:
    steps = torch.arange(6.0)
    line = torch.stack([steps, 2 * steps, -steps], dim=1)
    assert straightness(line[None]) == pytest.approx(1, abs=1e-6)
    stairs = torch.tensor([[0.0, 0], [1, 0], [1, 1], [2, 1], [2, 2]])
    assert straightness(stairs[None]) == pytest.approx(0, abs=1e-6)
    there_and_back = torch.tensor([[0.0], [1], [0], [1], [0]])
    assert straightness(there_and_back[None]) == pytest.approx(-1, abs=1e-6)
    angle = torch.arange(50) * 0.1
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    assert straightness(circle[None]) == pytest.approx(math.cos(0.1), abs=1e-5)
    assert straightness(torch.ones(2, 5, 3)) == 0
    paused = torch.cat([line, line[-1:], line[-1:] + (line[1] - line[0])])
    assert straightness(paused[None]) == pytest.approx(1, abs=1e-6)


def test_a_rest_does_not_decide_how_straightening_learns(generator: torch.Generator) -> None:
    clips = gaussian(generator, 40, 3).view(4, 10, 3)
    resting = torch.cat([clips[:, :5], clips[:, 4:5], clips[:, 5:]], 1).requires_grad_()
    straightness(resting).backward()
    assert resting.grad is not None
    assert resting.grad.norm() < 10
    still = torch.ones(2, 5, 3, requires_grad=True)
    straightness(still).backward()
    assert still.grad is not None
    assert not still.grad.any()


def test_alignment_and_uniformity(generator: torch.Generator) -> None:
    latents, center = gaussian(generator, 2000, D), torch.zeros(D)
    assert alignment(latents, 3 * latents, center) == pytest.approx(0, abs=1e-6)
    assert alignment(latents, -latents, center) == pytest.approx(4, abs=1e-5)
    assert alignment(latents, latents[torch.randperm(2000, generator=generator)], center) == pytest.approx(2, rel=0.03)
    assert alignment(latents + 9, -latents + 9, center + 9) == pytest.approx(4, abs=1e-4)
    assert uniformity(torch.ones(50, D), center) == pytest.approx(0, abs=1e-6)
    poles = torch.tensor([[1.0, 0], [-1, 0]]).repeat(500, 1)
    expected = math.log((499 * 500 * 1.0 + 500 * 500 * math.exp(-8)) / (1000 * 999 / 2))
    assert uniformity(poles, torch.zeros(2)) == pytest.approx(expected, abs=1e-4)
    high = gaussian(generator, 2000, 400)  # all about at right angles: squared distances of 2
    assert uniformity(high, torch.zeros(400)) == pytest.approx(-4, abs=0.05)


def test_spearman_sees_order_alone(generator: torch.Generator) -> None:
    x = gaussian(generator, 40)
    assert spearman(x, x.exp()) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)
    assert spearman(x, torch.ones(40)) == 0
    assert ranks(torch.tensor([3.0, 1, 3, 2])).tolist() == [2.5, 0, 2.5, 1]
    # by hand, with a tie: ranks 0 1.5 1.5 3 against 0 1 2 3
    tied = spearman(torch.tensor([1.0, 2, 2, 5]), torch.tensor([1.0, 2, 3, 4]))
    assert tied == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_distance_correlation_of_going_straight_and_of_coming_back() -> None:
    steps = torch.arange(8.0)
    line = torch.stack([steps, steps**2], dim=1)
    assert distance_correlation(line[None]) == pytest.approx(1)
    back = torch.tensor([0.0, 1, 2, 3, 2, 1, 0])
    value = distance_correlation(back[None, :, None])
    assert value == pytest.approx(-7.5 / math.sqrt(17.5 * 16.5))  # by hand
    assert distance_correlation(torch.stack([line[:7], back[:, None].expand(-1, 2)])) == pytest.approx((1 + value) / 2)


def test_cka_sees_rotation_and_scale_as_nothing(generator: torch.Generator) -> None:
    x = gaussian(generator, 500, D)
    rotation, _ = torch.linalg.qr(gaussian(generator, D, D))
    assert linear_cka(x, 3 * x @ rotation + 5) == pytest.approx(1, abs=1e-5)
    assert linear_cka(x, gaussian(generator, 500, 5)) < 0.05
    assert linear_cka(x[:, :1], torch.cat([x[:, :1], x[:, 1:2]], dim=1)) == pytest.approx(1 / math.sqrt(2), rel=0.1)


def test_rollout_error_is_a_share_of_the_variance(generator: torch.Generator) -> None:
    target = 3 * gaussian(generator, 4000, 2, D)
    variance = target.flatten(0, 1).var(0).mean()
    assert rollout_error(target, target, variance).tolist() == [0, 0]
    mean = torch.zeros_like(target)
    assert rollout_error(mean, target, variance).tolist() == pytest.approx([1, 1], rel=0.03)
    other = target[torch.randperm(4000, generator=generator)]
    assert rollout_error(other, target, variance).tolist() == pytest.approx([2, 2], rel=0.03)
    half = torch.stack([target[:, 0], target[:, 1] + 3], dim=1)
    assert rollout_error(half, target, variance).tolist() == pytest.approx([0, 9 / float(variance)], rel=1e-4)
