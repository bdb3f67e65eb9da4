"""Masked-future forecasting: what learns from it, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.masked_future import (
    AntiCollapse,
    MaskedFuture,
    MaskedFutureConfig,
    forecast_error,
    straightness,
)
from worldmodel.objectives.objective import ClipTensors
from worldmodel.objectives.sigreg import SIGRegConfig

CONFIG = MaskedFutureConfig(sigreg=SIGRegConfig(slices=16))


@pytest.fixture
def batch() -> ClipTensors:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (6, 4, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return ClipTensors(frames, torch.rand(6, 3, 2, 2, generator=generator))


def draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


def test_gradients_reach_all_but_what_later_stages_train(tiny_model: WorldModel, batch: ClipTensors) -> None:
    loss, logs = MaskedFuture(CONFIG, model=tiny_model)(tiny_model, batch, draws())
    loss.backward()
    assert torch.isfinite(loss)
    assert logs.latent_std > 0
    total = logs.forecast + CONFIG.anti_collapse_weight * logs.anti_collapse
    total += CONFIG.inverse_weight * logs.inverse + CONFIG.sketch_weight * logs.sketch
    torch.testing.assert_close(total, loss.detach())
    for name, parameter in tiny_model.named_parameters():
        if name.startswith(("decoder", "proposer", "distance", "reward", "disagreement")):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


def test_the_targets_learn_too(tiny_model: WorldModel, batch: ClipTensors) -> None:
    latents = tiny_model.encode(batch.frames).detach().requires_grad_()
    error = forecast_error(tiny_model, latents, latents, batch.actions, CONFIG, draws())
    (gradient,) = torch.autograd.grad(error, latents)
    assert (gradient[:, -1].abs().amax(-1) > 0).all()


def test_the_generator_decides_the_masks(tiny_model: WorldModel, batch: ClipTensors) -> None:
    objective = MaskedFuture(CONFIG, model=tiny_model)
    one, same, other = (objective(tiny_model, batch, draws(seed))[0].item() for seed in (1, 1, 2))
    assert one == same
    assert one != other


@torch.no_grad()
def test_without_actions_nothing_depends_on_them(tiny_model: WorldModel, batch: ClipTensors) -> None:
    config = replace(CONFIG, action_dropout=1.0)
    latents = tiny_model.encode(batch.frames)
    blocks = batch.actions
    one, other = (forecast_error(tiny_model, latents, latents, a, config, draws()) for a in (blocks, 1 - blocks))
    assert one == other


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["anti_collapse_weight", "sketch_weight", "two_step_weight"])
def test_a_weight_is_a_number_and_not_below_zero(name: str, value: float) -> None:
    with pytest.raises(WorldModelError, match=f"{name} is {value}; expected 0 or more"):
        replace(CONFIG, **{name: value})


def show(model: WorldModel, visible: int) -> None:
    """Let clips show up to so many frames."""
    model.config = replace(model.config, predictor=replace(model.config.predictor, visible=visible))


def test_something_must_be_masked(tiny_model: WorldModel, batch: ClipTensors) -> None:
    show(tiny_model, 4)
    with pytest.raises(WorldModelError, match=r"Up to 4 frames are visible, but clips have 4.*predictor\.visible"):
        MaskedFuture(CONFIG, model=tiny_model)(tiny_model, batch, draws())


def test_the_forecast_error_is_the_mean_over_clips_of_their_masked_frames(
    tiny_model: WorldModel, batch: ClipTensors
) -> None:
    latents = tiny_model.encode(batch.frames).detach()
    config = replace(CONFIG, action_dropout=0.0)
    counts = draws().integers(1, 3, 6, 1)[:, 0]
    errors = []
    for clip, count in enumerate(counts.tolist()):
        visible = torch.arange(4)[None] < count
        blocks = tiny_model.flatten_actions(batch.actions[clip : clip + 1])
        forecast = tiny_model.predictor(latents[clip : clip + 1], visible, blocks)
        errors.append((forecast[0, count:] - latents[clip, count:]).square().mean())
    error = forecast_error(tiny_model, latents, latents, batch.actions, config, draws())
    torch.testing.assert_close(error, torch.stack(errors).mean())


@torch.no_grad()
def test_emphasised_directions_count_in_addition(tiny_model: WorldModel, batch: ClipTensors) -> None:
    latents = tiny_model.encode(batch.frames)

    def error(emphasis: torch.Tensor | None) -> torch.Tensor:
        return forecast_error(tiny_model, latents, latents, batch.actions, CONFIG, draws(), emphasis=emphasis)

    plain, everywhere = error(None), torch.eye(latents.shape[-1])  # the sum of squares is D times their mean
    torch.testing.assert_close(error(everywhere), (1 + len(everywhere)) * plain)
    torch.testing.assert_close(error(2 * everywhere[:3]) + error(2 * everywhere[3:]), (2 + 4 * len(everywhere)) * plain)
    assert torch.equal(error(everywhere[:0]), plain)


def test_the_second_step_stands_on_the_first(tiny_model: WorldModel, batch: ClipTensors) -> None:
    """Where the forecast is the target itself, looking at it is like looking at the frame."""
    latents = tiny_model.encode(batch.frames).detach()
    show(tiny_model, 1)
    single = replace(CONFIG, action_dropout=0.0)
    double = replace(single, two_step_weight=2.0)
    blocks = tiny_model.flatten_actions(batch.actions)
    first = tiny_model.predictor(latents, (torch.arange(4) < 1).expand(6, -1), blocks)
    imagined = torch.cat([latents[:, :1], first[:, 1:2], latents[:, 2:]], 1)
    second = tiny_model.predictor(imagined, (torch.arange(4) < 2).expand(6, -1), blocks)
    expected = (second - latents)[:, 2:].square().mean() * 2 + (first - latents)[:, 1:].square().mean()
    error = forecast_error(tiny_model, latents, latents, batch.actions, double, draws())
    torch.testing.assert_close(error, expected)
    assert error > forecast_error(tiny_model, latents, latents, batch.actions, single, draws())


@pytest.mark.parametrize("anti_collapse", ["sigreg", "variance", "teacher"])
def test_every_guard_against_collapse_is_followed(
    tiny_model: WorldModel, batch: ClipTensors, anti_collapse: AntiCollapse
) -> None:
    objective = MaskedFuture(replace(CONFIG, anti_collapse=anti_collapse, sketch_weight=0.0), model=tiny_model)
    optimiser = torch.optim.SGD(tiny_model.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    loss, logs = objective(tiny_model, batch, draws())
    loss.backward()
    optimiser.step()
    objective.after_step(tiny_model, progress=0.0)
    moved = [name for name, value in objective.state_dict().items() if not torch.equal(value, before[name])]
    assert bool(moved) == (anti_collapse == "teacher")
    assert (logs.anti_collapse > 0) == (anti_collapse != "teacher")
    assert all(parameter.grad is None for parameter in objective.parameters())


def test_straightness_known_answers() -> None:
    line = torch.arange(5.0)[None, :, None] * torch.tensor([1.0, -2.0])
    there_and_back = torch.tensor([0.0, 1.0, 0.0, 1.0])[None, :, None]
    corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]])[None]
    for latents, expected in ((line, 1), (there_and_back, -1), (corner, 0)):
        assert straightness(latents).item() == pytest.approx(expected, abs=1e-6)


def test_a_teacher_begins_as_the_encoder_is(tiny_model: WorldModel) -> None:
    objective = MaskedFuture(replace(CONFIG, anti_collapse="teacher"), model=tiny_model)
    for parameter in tiny_model.encoder.parameters():  # it learns by another objective first
        torch.nn.init.constant_(parameter, 0.5)
    objective.begin(tiny_model)
    assert objective.teacher is not None
    assert all((parameter == 0.5).all() for parameter in objective.teacher.parameters())
