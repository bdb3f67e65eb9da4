"""Probes find what is there, choose by validation rows, and report in the target's units."""

from __future__ import annotations

import pytest
import torch

from worldmodel.evaluation.probes.mlp import MLPProbeConfig, fit_mlps
from worldmodel.evaluation.probes.probe import Rows, Scale, r_squared, rmse
from worldmodel.evaluation.probes.ridge import fit_ridge

N, D = 600, 6


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def features(generator: torch.Generator) -> torch.Tensor:
    return 5 * torch.randn(N, D, generator=generator) + 2


ROWS = Rows(torch.arange(300), torch.arange(300, 400))
UNSEEN = slice(400, N)


def test_ridge_finds_a_linear_map_exactly(features: torch.Tensor, generator: torch.Generator) -> None:
    targets = features @ torch.randn(D, 3, generator=generator) * torch.tensor([1.0, 100, 0.01]) + 7
    read = fit_ridge(features, targets, ROWS)(features[UNSEEN])
    assert r_squared(read, targets[UNSEEN]).tolist() == pytest.approx([1, 1, 1], abs=1e-6)


def test_ridge_chooses_its_penalty_for_each_target(generator: torch.Generator) -> None:
    """With more features than rows, a linear target wants hardly any penalty, and noise wants all of it."""
    features = torch.randn(N, 40, generator=generator)
    rows = Rows(torch.arange(50), torch.arange(300, 400))
    targets = torch.stack([features[:, 0], torch.randn(N, generator=generator)], dim=1)
    read = fit_ridge(features, targets, rows)(features[UNSEEN])
    linear, noise = r_squared(read, targets[UNSEEN]).tolist()
    assert linear > 0.99
    assert -0.1 < noise < 0.05


def test_columns_that_do_not_vary_do_no_harm(features: torch.Tensor) -> None:
    features = torch.cat([features, torch.full((N, 1), 3.0)], dim=1)
    targets = features[:, :2]
    read = fit_ridge(features, targets, ROWS)(features[UNSEEN])
    assert torch.isfinite(read).all()
    assert Scale.of(features).std[-1] == 1


def test_mlps_find_what_is_not_linear_and_each_learns_from_its_own_rows(generator: torch.Generator) -> None:
    features = torch.randn(N, 2, generator=generator)
    targets = 10 * torch.stack([features[:, 0] * features[:, 1], features[:, 0].abs()], dim=1)
    few = Rows(torch.arange(4), torch.arange(300, 400))
    config = MLPProbeConfig(width=64, steps=400, batch=128)
    probes = fit_mlps(config, features, targets, [ROWS, few, ROWS], torch.Generator().manual_seed(1))
    scores = [r_squared(probe(features[UNSEEN]), targets[UNSEEN]).mean() for probe in probes]
    assert scores[0] > 0.9
    assert scores[2] > 0.9
    assert scores[1] < 0.5
    again = fit_mlps(config, features, targets, [ROWS, few, ROWS], torch.Generator().manual_seed(1))
    assert torch.equal(again[0](features), probes[0](features))
    linear = fit_ridge(features, targets, ROWS)
    assert r_squared(linear(features[UNSEEN]), targets[UNSEEN]).mean() < 0.3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_rows_may_lie_elsewhere_than_features(features: torch.Tensor) -> None:
    there, config = features.cuda(), MLPProbeConfig(width=8, steps=2, batch=8, checks=2)
    (probe,) = fit_mlps(config, there, there[:, :2], [ROWS], torch.Generator().manual_seed(0))
    assert torch.isfinite(probe(there)).all()
    assert torch.isfinite(fit_ridge(there, there[:, :2], ROWS)(there)).all()


def test_an_mlp_keeps_its_best_state(generator: torch.Generator) -> None:
    """Targets that are noise: the longer it learns, the worse it does elsewhere."""
    features, targets = torch.randn(N, D, generator=generator), torch.randn(N, 1, generator=generator)
    config = MLPProbeConfig(width=64, steps=300, batch=64, weight_decay=0.0, checks=30)
    rows = Rows(torch.arange(60), torch.arange(300, 400))
    last = MLPProbeConfig(width=64, steps=300, batch=64, weight_decay=0.0, checks=1)
    best, final = (fit_mlps(c, features, targets, [rows], torch.Generator().manual_seed(2))[0] for c in (config, last))
    where = rows.validation
    assert rmse(best(features[where]), targets[where]) < rmse(final(features[where]), targets[where])


def test_r_squared_and_rmse_by_hand() -> None:
    target = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    assert r_squared(target, target).tolist() == [1, 1]
    assert r_squared(target.mean(0).expand(2, 2), target).tolist() == [0, 0]
    assert rmse(target + torch.tensor([3.0, -0.5]), target).tolist() == [3, 0.5]
    assert r_squared(target + torch.tensor([3.0, 0.0]), target).tolist() == [-8, 1]
    assert r_squared(target[:1] + 0.5, target[:1], target).tolist() == [0.75, 0.75]  # of a single row, against all
