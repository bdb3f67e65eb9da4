"""What is felt enters the forecast where the model asks for it, the same way in training and in planning."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.models.imagination import Imagination
from worldmodel.models.proprioception import ProprioceptionEmbedding
from worldmodel.models.world_model import WorldModel, WorldModelConfig
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.masked_future import MaskedFutureConfig, forecast_error

B, L, C, P = 3, 5, 2, 4
VISIBLE = (torch.arange(L) < C).expand(B, L)


@pytest.fixture
def feeling(tiny_model: WorldModel, tiny_model_config: WorldModelConfig) -> WorldModel:
    """A model with proprioception, all of whose weights matter."""
    torch.manual_seed(0)
    model = WorldModel(
        replace(tiny_model_config, proprioception=True), interface=replace(tiny_model.interface, proprioception=P)
    )
    for parameter in model.predictor.parameters():
        parameter.data += torch.randn(parameter.shape) * 0.2
    assert model.predictor.feel is not None
    model.predictor.feel.fit(torch.randn(50, P) * 3 + 1)
    return model.eval()


@pytest.fixture
def clip() -> tuple[Tensor, Tensor, Tensor]:
    """Latents, actions in [-1, 1], and what was felt."""
    generator = torch.Generator().manual_seed(1)
    actions = torch.rand(B, L - 1, 4, generator=generator) * 2 - 1
    return torch.randn(B, L, 8, generator=generator), actions, torch.randn(B, L, P, generator=generator)


def test_it_is_normalised_by_what_was_seen_and_what_never_moves_is_centred() -> None:
    embedding = ProprioceptionEmbedding(2, 3)
    embedding.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    torch.nn.init.ones_(embedding.embed.weight)
    torch.nn.init.zeros_(embedding.embed.bias)
    found = embedding(torch.tensor([[[2.0, 5.0], [2.0 + 2**0.5, 5.0], [2.0, 7.0]]]))
    torch.testing.assert_close(found[0, :, 0], torch.tensor([0.0, 1.0, 2.0]))
    assert set(dict(embedding.named_buffers())) == {"mean", "std"}
    with pytest.raises(WorldModelError, match=r"3 numbers were felt.*trained with 2"):
        embedding(torch.zeros(1, 1, 3))


@torch.no_grad()
def test_without_it_nothing_changes(tiny_model: WorldModel, clip: tuple[Tensor, Tensor, Tensor]) -> None:
    latents, actions, felt = clip
    predictor = tiny_model.predictor
    assert not [name for name in tiny_model.state_dict() if "feel" in name]
    before = predictor(latents, VISIBLE, actions)
    for given in (felt, felt[..., :0]):
        assert torch.equal(predictor(latents, VISIBLE, actions, felt=given), before)
        one, other = (predictor.remember(latents[:, :C], actions[:, : C - 1], x) for x in (None, given[:, :C]))
        assert torch.equal(one, other)


@torch.no_grad()
def test_a_forecast_depends_on_what_was_felt_at_visible_frames_alone(
    feeling: WorldModel, clip: tuple[Tensor, Tensor, Tensor]
) -> None:
    latents, actions, felt = clip

    def forecast(felt: Tensor | None, feels: Tensor | None = None) -> Tensor:
        said: Tensor = feeling.predictor(latents, VISIBLE, actions, felt=felt, feels=feels)
        return said

    now, later = felt.clone(), felt.clone()
    now[:, C - 1] += 1
    later[:, C:] += 1
    assert torch.equal(forecast(later), forecast(felt))
    assert torch.equal(forecast(now)[:, : C - 1], forecast(felt)[:, : C - 1])  # causal
    assert ((forecast(now) - forecast(felt)).abs().amax(-1)[:, C - 1 :] > 1e-4).all()
    some = forecast(felt, torch.tensor([True, False, True]))
    torch.testing.assert_close(some[[0, 2]], forecast(felt)[[0, 2]])
    torch.testing.assert_close(some[1], forecast(None)[1])


@torch.no_grad()
@pytest.mark.parametrize("known", [True, False])
def test_what_is_remembered_is_what_a_whole_clip_tells(
    feeling: WorldModel, clip: tuple[Tensor, Tensor, Tensor], known: bool
) -> None:
    latents, _, felt = clip
    actions = feeling.low + (feeling.high - feeling.low) * torch.rand(B, L - 1, 2, 2)
    seen, past, future = latents[:, :C], actions[:, : C - 1], actions[:, None, C - 1 :]
    expected = feeling.predictor(latents, VISIBLE, feeling.flatten_actions(actions), felt=felt if known else None)[
        :, None, C:
    ]
    given = felt[:, :C] if known else None
    torch.testing.assert_close(feeling.imagine(feeling.remember(seen, past, given), future), expected)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.1)):
        fast = Imagination(feeling, hold=1, dtype=dtype)
        imagined = fast.imagine(fast.remember(seen, past, given), future)
        torch.testing.assert_close(imagined, expected, rtol=0, atol=tolerance * float(expected.std()))


@torch.no_grad()
def test_training_forecasts_with_and_without_it(feeling: WorldModel, clip: tuple[Tensor, Tensor, Tensor]) -> None:
    latents, _, felt = clip
    blocks = torch.rand(B, L - 1, 2, 2)

    def error(felt: Tensor | None, dropout: float, two_step: float = 0.0) -> Tensor:
        config = MaskedFutureConfig(proprioception_dropout=dropout, two_step_weight=two_step)
        draws = Draws(torch.Generator().manual_seed(5))
        return forecast_error(feeling, latents, latents, blocks, config, draws, felt=felt)

    assert error(felt, 0.0) != error(-felt, 0.0)
    assert torch.equal(error(felt, 1.0), error(-felt, 1.0))
    torch.testing.assert_close(error(felt, 1.0), error(None, 0.0))
    assert error(felt, 0.0, two_step=1.0) > error(felt, 0.0)


def test_model_and_world_must_agree(tiny_model: WorldModel, tiny_model_config: WorldModelConfig) -> None:
    with pytest.raises(WorldModelError, match="proprioception is True, but the interface tells of 0"):
        WorldModel(replace(tiny_model_config, proprioception=True), interface=tiny_model.interface)
    with pytest.raises(WorldModelError, match="proprioception is False, but the interface tells of 4"):
        WorldModel(tiny_model_config, interface=replace(tiny_model.interface, proprioception=4))
