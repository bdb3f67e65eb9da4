"""The schedule, and a state that travels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from worldmodel.errors import CheckpointError
from worldmodel.training.optimiser import Optimiser, OptimiserConfig


def make(**values: float) -> tuple[nn.Linear, Optimiser]:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    config = OptimiserConfig(**{"learning_rate": 0.1, "warmup": 10, **values})  # type: ignore[arg-type]
    return layer, Optimiser(config, layer.named_parameters())


def follow(optimiser: Optimiser, loss: torch.Tensor, step: int) -> torch.Tensor:
    loss.backward()
    norm = optimiser.clip()
    optimiser.step(step, step / 100)
    return norm


def loss_of(layer: nn.Linear) -> torch.Tensor:
    return (layer(torch.ones(1, 3)) - 1).square().sum()


def test_the_learning_rate_rises_then_falls_along_a_cosine() -> None:
    _, optimiser = make(warmup=10)
    assert optimiser.learning_rate(0, 0 / 100) == pytest.approx(0.01)
    assert optimiser.learning_rate(4, 4 / 100) == pytest.approx(0.05, rel=0.01)
    assert optimiser.learning_rate(50, 50 / 100) == pytest.approx(0.05)
    assert optimiser.learning_rate(75, 75 / 100) == pytest.approx(0.1 * 0.5 * (1 - 0.5**0.5))
    assert optimiser.learning_rate(100, 100 / 100) == pytest.approx(0, abs=1e-12)
    rates = [optimiser.learning_rate(step, step / 100) for step in range(100)]
    assert max(rates) <= 0.1
    assert rates.index(max(rates)) == 9
    assert make(warmup=0)[1].learning_rate(0, 0.0) == pytest.approx(0.1)


def test_the_warm_up_ends_in_time_where_the_schedule_is_shorter() -> None:
    _, optimiser = make(warmup=1000)
    rates = [optimiser.learning_rate(step, step / 100) for step in range(100)]
    assert rates.index(max(rates)) == 10
    assert max(rates) == pytest.approx(0.1, rel=0.03)


def test_it_finds_a_minimum() -> None:
    layer, optimiser = make(weight_decay=0.0)
    for step in range(100):
        norm = follow(optimiser, loss_of(layer), step)
    assert loss_of(layer).item() < 1e-3
    assert norm >= 0


def test_muon_steps_as_far_in_every_direction() -> None:
    layer, optimiser = make(muon=0.1, warmup=0, weight_decay=0.0)
    before = layer.weight.detach().clone()
    gradient = torch.tensor([[100.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    (layer.weight * gradient).sum().backward()
    layer.bias.grad = torch.zeros(2)
    optimiser.step(0, 0.0)
    lengths = torch.linalg.svdvals(layer.weight.detach() - before)
    assert lengths.min() > 0.5 * lengths.max()  # 1 / 100 along the gradient; Newton-Schulz comes near 1
    torch.testing.assert_close(lengths.mean().item(), 0.1 * 0.2 * 3**0.5, rtol=0.4, atol=0)


def test_muon_leaves_heads_and_vectors_to_adam() -> None:
    head = nn.Linear(3, 2)
    layer = nn.Linear(3, 2)
    config = OptimiserConfig(muon=0.1)
    optimiser = Optimiser(config, layer.named_parameters(), head.named_parameters(prefix="own"))
    follow(optimiser, loss_of(layer) + loss_of(head), 0)
    remembered = {name.rpartition("/")[0] for name in optimiser.state() if name.endswith("momentum_buffer")}
    assert remembered == {"weight"}
    assert {"own.weight/exp_avg", "own.bias/exp_avg", "bias/exp_avg"} <= set(optimiser.state())


def test_only_matrices_decay() -> None:
    layer, optimiser = make(weight_decay=1.0, warmup=0)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    follow(optimiser, 0 * loss_of(layer), 0)
    torch.testing.assert_close(layer.weight.detach(), weight * 0.9)
    assert torch.equal(layer.bias, bias)


@pytest.mark.parametrize("muon", [0.0, 0.1])
def test_the_state_goes_there_and_back(muon: float) -> None:
    layer, optimiser = make(muon=muon)
    for step in range(5):
        follow(optimiser, loss_of(layer), step)
    other, resumed = make(muon=muon)
    other.load_state_dict(layer.state_dict())
    resumed.load({name: value.clone() for name, value in optimiser.state().items()})
    for step in range(5, 10):
        follow(optimiser, loss_of(layer), step)
        follow(resumed, loss_of(other), step)
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(layer.bias, other.bias)


@pytest.mark.parametrize(
    ("name", "muon"),
    [("weight/exp_avg", 0.0), ("bias/exp_avg_sq", 0.0), ("weight/step", 0.0), ("weight/momentum_buffer", 0.1)],
)
def test_a_state_that_does_not_fit_is_refused(name: str, muon: float) -> None:
    layer, optimiser = make(muon=muon)
    follow(optimiser, loss_of(layer), 0)
    state = optimiser.state()
    with pytest.raises(CheckpointError, match=name):
        make(muon=muon)[1].load({key: value for key, value in state.items() if key != name})
    with pytest.raises(CheckpointError, match=name):
        make(muon=muon)[1].load({**state, name: torch.zeros(7)})


def test_no_more_than_the_largest_norm_of_a_gradient_is_followed() -> None:
    layer, optimiser = make(clip=2.0)
    layer.weight.grad, layer.bias.grad = torch.full((2, 3), 3.0), torch.zeros(2)
    assert optimiser.clip().item() == pytest.approx(3 * 6**0.5)
    torch.testing.assert_close(layer.weight.grad, torch.full((2, 3), 2 / 6**0.5))
    assert optimiser.clip().item() == pytest.approx(2)


def test_the_state_of_filters_that_lie_channels_last_comes_back_too() -> None:
    def make_filters() -> tuple[nn.Module, Optimiser]:
        torch.manual_seed(0)
        filters = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return filters, Optimiser(OptimiserConfig(), filters.named_parameters())

    frames = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    (one, optimiser), (other, resumed) = make_filters(), make_filters()
    follow(optimiser, one(frames).square().mean(), 0)
    other.load_state_dict(one.state_dict())
    resumed.load({name: value.clone().contiguous() for name, value in optimiser.state().items()})
    follow(optimiser, one(frames).square().mean(), 1)
    follow(resumed, other(frames).square().mean(), 1)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
