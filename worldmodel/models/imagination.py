"""The predictor's forecasts for many plans at once, by a copy that is made for it."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel


class Imagination:
    """A copy of a trained predictor, made for planning.

    It forecasts what `Predictor.forward` forecasts. It is faster, because weights are cast and packed once, and each
    GELU and each sum is part of its matrix multiplication. Later changes of the predictor are not seen. Gradients flow
    to the actions, more slowly.

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
        held = first.weight.view(-1, steps, hold, len(self._low)).sum(2).flatten(1)
        self._embed_action = _Linear(held, first.bias, dtype), _Linear.of(second, dtype)
        self._masked = _Linear(second.weight, second.bias + predictor.mask_token, dtype)
        self._embed_latent = _Linear.of(predictor.embed_latent, dtype)
        self._feel = deepcopy(predictor.feel)
        self._no_action = predictor.no_action.detach().to(dtype, copy=True)
        self._enter = _Linear.after(predictor.norm_token, predictor.enter, dtype)
        gates = slice(2 * self._width)
        self._carry_gates = _Linear.after(predictor.norm_state, predictor.carry, dtype, gates)
        self._carry_new = _Linear.after(predictor.norm_state, predictor.carry, dtype, slice(gates.stop, None))
        self._widen, self._narrow = _Linear.of(predictor.widen, dtype), _Linear.of(predictor.narrow, dtype)
        self._forecast = _Linear.after(predictor.norm, predictor.forecast, dtype)

    def remember(self, latents: Tensor, actions: Tensor, felt: Tensor | None = None) -> Tensor:
        """Return the state `[B, W]` after visible latents `[B, C, D]` with the blocks between them, `[B, C - 1, S, A]`.

        Args:
            felt: `[B, C, P]`, in physical units; None where nobody knows it, or the model has no proprioception.
        """
        b, c, _ = latents.shape
        self._check_fits(c)
        first, second = self._embed_action
        led_by = torch.cat([self._no_action.expand(b, 1, -1), second(first(self._scaled(actions), gelu=True))], 1)
        tokens = self._embed_latent(latents.to(self._dtype)) + led_by
        if self._feel is not None:
            tokens = tokens + self._feel(felt).to(self._dtype)
        return self._states(tokens, tokens.new_zeros(b, self._width))[-1]

    def imagine(self, state: Tensor, actions: Tensor) -> Tensor:
        """Forecast the latents `[B, N, M, D]`, float32, that plans `[B, N, M, S, A]` lead to."""
        b, n, m = actions.shape[:3]
        self._check_fits(m + 1)
        tokens = self._masked(self._embed_action[0](self._scaled(actions.flatten(0, 1)), gelu=True))
        states = torch.stack(self._states(tokens, state.repeat_interleave(n, 0)))
        read = self._narrow(self._widen(states, gelu=True), plus=states)
        return self._forecast(_normalise(read)).float().transpose(0, 1).view(b, n, m, -1)

    def _states(self, tokens: Tensor, state: Tensor) -> list[Tensor]:
        """Return the state `[R, W]` after each of `tokens [R, L, token]`."""
        entering = self._enter(_normalise(tokens)).transpose(0, 1).contiguous()
        gates = 2 * self._width
        states = []
        for enters in entering:
            normal = _normalise(state)
            reset, keep = self._carry_gates(normal, plus=enters[:, :gates]).sigmoid().chunk(2, -1)
            new = torch.addcmul(enters[:, gates:], reset, self._carry_new(normal)).tanh()
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

    @classmethod
    def after(cls, norm: nn.Module, layer: nn.Module, dtype: torch.dtype, rows: slice = slice(None)) -> _Linear:
        """Take in scale and shift of the layer norm before it; `rows` chooses some of its outputs."""
        assert isinstance(norm, nn.LayerNorm)
        assert isinstance(layer, nn.Linear)
        weight, bias = layer.weight[rows], layer.bias[rows]
        return cls(weight * norm.weight, bias + weight @ norm.bias, dtype)

    def __call__(self, x: Tensor, *, gelu: bool = False, plus: Tensor | None = None) -> Tensor:
        """Multiply; then apply GELU, or add `plus`."""
        if self._packed is None or torch.is_grad_enabled():
            out = F.linear(x, self._weight, self._bias)
            return F.gelu(out, approximate="tanh") if gelu else out if plus is None else out + plus
        fused: Tensor
        if plus is not None:
            fused = torch.ops.mkldnn._linear_pointwise.binary(x, plus, self._packed, self._bias, "add")
        else:
            kind, form = ("gelu", "tanh") if gelu else ("none", "")
            fused = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, kind, [], form)
        return fused


def _normalise(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])
