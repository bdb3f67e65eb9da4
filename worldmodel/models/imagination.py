"""The predictor's forecasts for many plans at once, by a copy that is made for it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel


@dataclass(frozen=True)
class Remembered:
    """Keys and values of the visible positions, in every layer.

    Attributes:
        pairs: for each layer, keys and values, each `[B, heads, C, width / heads]`.
    """

    pairs: tuple[tuple[Tensor, Tensor], ...]

    @property
    def length(self) -> int:
        return self.pairs[0][0].shape[2]


class Imagination:
    """A copy of a trained predictor, made for planning.

    It forecasts what `Predictor.forward` forecasts. It is faster, because weights are cast and packed once, each
    perceptron's GELU and each residual sum are part of their matrix multiplication, the tokens that all plans share
    are added once, and the attention, over so few positions, is two batched multiplications. Later changes of
    the predictor are not seen. Gradients flow to the actions, more slowly.

    Shapes: B memories, N plans each, C visible and M masked frames, S action steps in a block, K control steps in a
    block, A actuators, D latent.

    Args:
        model: whose predictor is copied.
        hold: control steps for which an action is held: S = K / hold.
        dtype: of everything within, bfloat16 or float32.
    """

    @torch.no_grad()
    def __init__(self, model: WorldModel, *, hold: int, dtype: torch.dtype) -> None:
        predictor = model.predictor
        self._low, self._high = model.low, model.high
        self._dtype, self._steps = dtype, model.interface.steps_per_frame // hold
        first, second = predictor.embed_action[0], predictor.embed_action[2]
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        held = first.weight.view(-1, self._steps, hold, len(self._low)).sum(2).flatten(1)
        self._embed_action = _Linear(held, first.bias, dtype), _Linear.of(second, dtype)
        self._embed_latent = _Linear.of(predictor.embed_latent, dtype)
        self._feel = deepcopy(predictor.feel)
        self._no_action, self._position = (
            x.detach().to(dtype, copy=True) for x in (predictor.no_action, predictor.position)
        )
        self._masked = (predictor.position + predictor.mask_token).to(dtype)
        self._layers = [_Layer(block, predictor.config.heads, dtype) for block in predictor.blocks]
        self._forecast = _Linear.after(predictor.norm, predictor.forecast, dtype)

    def remember(self, latents: Tensor, actions: Tensor, felt: Tensor | None = None) -> Remembered:
        """Take in visible latents `[B, C, D]`, the blocks between them, `[B, C - 1, S, A]`, and what was felt there.

        Args:
            felt: `[B, C, P]`, in physical units; None where nobody knows it, or the model has no proprioception.
        """
        b, c, _ = latents.shape
        self._check_fits(c)
        led_by = torch.cat([self._no_action.expand(b, 1, -1), self._led_by(actions)], 1)
        x = self._embed_latent(latents.to(self._dtype)) + led_by + self._position[:c]
        if self._feel is not None:
            x = x + self._feel(felt).to(self._dtype)
        pairs = []
        for layer in self._layers:
            q, k, v = layer.heads(x)
            pairs.append((k, v))
            x = layer.finish(x, _attend(q, k, v))
        return Remembered(tuple(pairs))

    def imagine(self, memory: Remembered, actions: Tensor) -> Tensor:
        """Forecast the latents `[B, N, M, D]`, float32, that plans `[B, N, M, S, A]` lead to."""
        b, n, m = actions.shape[:3]
        c = memory.length
        self._check_fits(c + m)
        x = self._led_by(actions.flatten(0, 1)) + self._masked[c : c + m]
        for layer, (key, value) in zip(self._layers, memory.pairs, strict=True):
            q, k, v = layer.heads(x)
            x = layer.finish(x, _attend(q, _after(key, k, n), _after(value, v, n)))
        return self._forecast(_normalise(x)).float().view(b, n, m, -1)

    def _led_by(self, actions: Tensor) -> Tensor:
        """Embed action blocks `[..., S, A]` as `[..., width]`."""
        scaled = ((actions - self._low) / (self._high - self._low) * 2 - 1).flatten(-2)
        first, second = self._embed_action
        return second(first(scaled.to(self._dtype), gelu=True))

    def _check_fits(self, frames: int) -> None:
        if frames > len(self._position):
            raise WorldModelError(
                f"A clip of {frames} frames is longer than the predictor's {len(self._position)} positions. Plan with "
                "a shorter horizon or history, or train with more positions."
            )


class _Layer:
    """One block of the predictor: attention, then a perceptron, each added to its normalised input."""

    def __init__(self, block: nn.Module, heads: int, dtype: torch.dtype) -> None:
        parts = dict(block.named_children())
        self._heads = heads
        self._qkv = _Linear.after(
            parts["norm_attention"], parts["qkv"], dtype, scaled=_query_scale(parts["qkv"], heads)
        )
        self._merge = _Linear.of(parts["merge"], dtype)
        self._widen = _Linear.after(parts["norm_mlp"], parts["widen"], dtype)
        self._narrow = _Linear.of(parts["narrow"], dtype)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map `[R, L, width]` to queries, keys and values, each `[R, heads, L, width / heads]`."""
        mixed = self._qkv(_normalise(x)).view(*x.shape[:2], 3, self._heads, -1)
        q, k, v = mixed.permute(2, 0, 3, 1, 4).unbind()
        return q, k, v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended to, `[R, L, width]`, and the perceptron."""
        x = self._merge(attended, plus=x)
        return self._narrow(self._widen(_normalise(x), gelu=True), plus=x)


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
    def after(cls, norm: nn.Module, layer: nn.Module, dtype: torch.dtype, scaled: Tensor | float = 1.0) -> _Linear:
        """Take in scale and shift of the layer norm before it, and `scaled`, by which its outputs are multiplied."""
        assert isinstance(norm, nn.LayerNorm)
        assert isinstance(layer, nn.Linear)
        weight, bias = layer.weight * norm.weight, layer.bias + layer.weight @ norm.bias
        scale = torch.as_tensor(scaled, device=weight.device)
        return cls(weight * scale.unsqueeze(-1), bias * scale, dtype)

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


def _query_scale(qkv: nn.Module, heads: int) -> Tensor:
    """Return what queries, keys and values are multiplied by, `[3 * width]`: the queries by 1 / sqrt(d)."""
    assert isinstance(qkv, nn.Linear)
    scale = torch.ones(3, qkv.in_features, device=qkv.weight.device)
    scale[0] = (qkv.in_features // heads) ** -0.5
    return scale.flatten()


def _normalise(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _after(memory: Tensor, own: Tensor, plans: int) -> Tensor:
    """Put what is remembered, `[B, heads, C, d]`, before each plan's own, `[B * N, heads, M, d]`."""
    shared = memory[:, None].expand(-1, plans, *memory.shape[1:]).flatten(0, 1)
    return torch.cat([shared, own], 2)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend causally: the last of the M queries to all L keys, the one before it to all but the last, and so on.

    Shapes: q `[R, heads, M, d]`; k, v `[R, heads, L, d]`. Returns `[R, M, heads * d]`.
    """
    m, length = q.shape[2], k.shape[2]
    scores = q @ k.transpose(-1, -2)
    later = torch.full((m, length), -torch.inf, dtype=q.dtype, device=q.device).triu(length - m + 1)
    weights = (scores + later).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)
