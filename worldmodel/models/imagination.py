"""The predictor's forecasts for many plans at once, by a copy that is made for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel


class Imagination:
    """A copy of a trained predictor, made for planning.

    It forecasts what `Predictor.forward` forecasts. It is faster, because weights are cast and packed once, what goes
    into the gates is one multiplication for token and state, and each GELU, sigmoid and sum is part of its matrix
    multiplication. Later changes of the predictor are not seen. Gradients flow to the actions, more slowly.

    Shapes: B states, N plans each, C visible and M masked frames, S action steps in a block, K control steps in a
    block, A actuators, D latent, W width of the state.

    Args:
        model: whose predictor is copied.
        hold: control steps for which an action is held: S = K / hold.
        dtype: of everything within, bfloat16 or float32.
    """

    @torch.no_grad()
    def __init__(self, model: WorldModel, *, hold: int, dtype: torch.dtype) -> None:
        predictor = model.predictor
        self._low, self._high = model.low, model.high
        self._dtype, self._width = dtype, predictor.config.width
        self._longest, steps = model.longest_clip, model.interface.steps_per_frame // hold
        first, second = predictor.embed_action[0], predictor.embed_action[2]
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        held = first.weight.view(len(first.weight), steps, hold, len(self._low)).sum(2).flatten(1)
        self._embed_action = _Linear(held, first.bias, dtype), _Linear.of(second, dtype)
        self._masked = _Linear(second.weight, second.bias + predictor.mask_token, dtype)
        self._embed_latent = _Linear.of(predictor.embed_latent, dtype)
        self._feel = deepcopy(predictor.feel)
        self._no_action = predictor.no_action.detach().to(dtype, copy=True)
        enter, carry = _take_in(predictor.norm_token, predictor.enter), _take_in(predictor.norm_state, predictor.carry)
        gates, new = slice(2 * self._width), slice(2 * self._width, None)
        both = torch.cat([enter[0][gates], carry[0][gates]], 1)
        self._gates = _Linear(both, enter[1][gates] + carry[1][gates], dtype)
        self._enter = _Linear(enter[0][new], enter[1][new], dtype)
        self._carry = _Linear(carry[0][new], carry[1][new], dtype)
        self._widen, self._narrow = _Linear.of(predictor.widen, dtype), _Linear.of(predictor.narrow, dtype)
        self._forecast = _Linear(*_take_in(predictor.norm, predictor.forecast), dtype)

    def remember(self, latents: Tensor, actions: Tensor, felt: Tensor | None = None) -> Tensor:
        """Return the state `[B, W]` after visible latents `[B, C, D]` with the blocks between them, `[B, C - 1, S, A]`.

        Args:
            felt: `[B, C, P]`, in physical units; None where nobody knows it, or the model has no proprioception.
        """
        b, c, _ = latents.shape
        self._check_fits(c)
        first, second = self._embed_action
        led_by = torch.cat([self._no_action.expand(b, 1, -1), second(first(self._scaled(actions), then="gelu"))], 1)
        tokens = self._embed_latent(latents.to(self._dtype)) + led_by
        if self._feel is not None:
            tokens = tokens + self._feel(felt).to(self._dtype)
        return self._states(tokens.transpose(0, 1), tokens.new_zeros(b, self._width))[-1]

    def imagine(self, state: Tensor, actions: Tensor) -> Tensor:
        """Forecast the latents `[B, N, M, D]`, float32, that plans `[B, N, M, S, A]` lead to."""
        b, n, m = actions.shape[:3]
        self._check_fits(m + 1)
        scaled = self._scaled(actions.flatten(0, 1)).transpose(0, 1).contiguous()
        tokens = self._masked(self._embed_action[0](scaled, then="gelu"))
        states = torch.stack(self._states(tokens, state.repeat_interleave(n, 0)))
        read = self._narrow(self._widen(states, then="gelu"), plus=states)
        return self._forecast(_normalise(read)).float().transpose(0, 1).view(b, n, m, -1)

    def _states(self, tokens: Tensor, state: Tensor) -> list[Tensor]:
        """Return the state `[R, W]` after each of `tokens [L, R, token]`."""
        normal_tokens = _normalise(tokens)
        states = []
        for token, enters in zip(normal_tokens, self._enter(normal_tokens), strict=True):
            normal = _normalise(state)
            reset, keep = self._gates(torch.cat([token, normal], -1), then="sigmoid").chunk(2, -1)
            new = torch.addcmul(enters, reset, self._carry(normal)).tanh()
            state = torch.lerp(new, state, keep)
            states.append(state)
        return states

    def _scaled(self, actions: Tensor) -> Tensor:
        """Scale action blocks `[..., S, A]` to [-1, 1], `[..., S * A]`."""
        scaled: Tensor = ((actions - self._low) / (self._high - self._low) * 2 - 1).flatten(-2).to(self._dtype)
        return scaled

    def _check_fits(self, frames: int) -> None:
        if frames > self._longest:
            raise WorldModelError(
                f"A clip of {frames} frames is longer than the {self._longest} positions that the predictor is "
                "trained on. Plan with a shorter horizon or history, or train with more positions."
            )


Activation = Literal["none", "gelu", "sigmoid"]
ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "gelu": partial(F.gelu, approximate="tanh"),
    "sigmoid": torch.sigmoid,
}
PACKED_ROWS = 1500  # for which the packed form is chosen: 300 plans of 5 blocks; other numbers work with it


class _Linear:
    """A frozen linear layer, cast once, and packed as oneDNN wants it where that is what multiplies."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        self._weight, self._bias = (x.detach().to(dtype, copy=True).contiguous() for x in (weight, bias))
        packs = weight.device.type == "cpu" and torch._C._has_mkldnn
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight, PACKED_ROWS) if packs else None

    @classmethod
    def of(cls, layer: nn.Module, dtype: torch.dtype) -> _Linear:
        assert isinstance(layer, nn.Linear)
        return cls(layer.weight, layer.bias, dtype)

    def __call__(self, x: Tensor, *, then: Activation = "none", plus: Tensor | None = None) -> Tensor:
        """Multiply; then apply the activation, or add `plus`."""
        if self._packed is None or torch.is_grad_enabled():
            out = ACTIVATIONS[then](F.linear(x, self._weight, self._bias))
            return out if plus is None else out + plus
        fused: Tensor
        if plus is not None:
            fused = torch.ops.mkldnn._linear_pointwise.binary(x, plus, self._packed, self._bias, "add")
        else:
            form = "tanh" if then == "gelu" else ""
            fused = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, then, [], form)
        return fused


def _take_in(norm: nn.Module, layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a linear layer that takes in scale and shift of the layer norm before it."""
    assert isinstance(norm, nn.LayerNorm)
    assert isinstance(layer, nn.Linear)
    return layer.weight * norm.weight, layer.bias + layer.weight @ norm.bias


def _normalise(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])
