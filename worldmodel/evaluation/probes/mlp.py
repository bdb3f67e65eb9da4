"""A small perceptron as a probe; those of several seeds are trained side by side."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.evaluation.probes.probe import Rows, Scale


@dataclass(frozen=True)
class MLPProbeConfig:
    """A perceptron with two hidden layers, trained by AdamW.

    Attributes:
        width: of the hidden layers.
        steps: of training; the state with the lowest error on the validation rows is kept.
        batch: rows in a step.
        learning_rate: at its highest; it falls to zero along a cosine.
        weight_decay: of AdamW.
        checks: how often, at equal intervals, the validation error is looked at.
    """

    width: int = 128
    steps: int = 600
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    checks: int = 12

    def __post_init__(self) -> None:
        for name in ("width", "steps", "batch", "checks"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} of the MLP probe is {getattr(self, name)}; expected at least 1.")


@dataclass(frozen=True)
class MLPProbe:
    """Standardise, go through the layers, and go back to the target's units."""

    features: Scale
    targets: Scale
    layers: tuple[tuple[Tensor, Tensor], ...]

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        return self.targets.back(perceptron(self.layers, self.features.to(features)))


def perceptron(layers: Sequence[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """Take `x [N, D]` through pairs of weights and biases, with a GELU between them."""
    for weight, bias in layers[:-1]:
        x = F.gelu(x @ weight + bias, approximate="tanh")
    weight, bias = layers[-1]
    return x @ weight + bias


def new_mlp(width: int, features: Tensor, targets: Tensor, rows: Rows, generator: torch.Generator) -> MLPProbe:
    """Return a perceptron that has learned nothing but the scales of features `[N, D]` and targets `[N, S]`."""
    net = _Perceptrons(1, (features.shape[1], width, width, targets.shape[1]), generator).to(features.device)
    return MLPProbe(Scale.of(features[rows.training]), Scale.of(targets[rows.training]), net.one(0))


def fit_mlps(
    config: MLPProbeConfig, features: Tensor, targets: Tensor, rows: Sequence[Rows], generator: torch.Generator
) -> list[MLPProbe]:
    """Fit one perceptron to each of `rows`, all at once.

    Args:
        features: `[N, D]` float32.
        targets: `[N, S]` float32.
        rows: on any device.
        generator: on the CPU; draws weights and batches.
    """
    device = features.device
    rows = [Rows(r.training.to(device), r.validation.to(device)) for r in rows]
    scales = [(Scale.of(features[r.training]), Scale.of(targets[r.training])) for r in rows]
    x_scale, y_scale = (
        Scale(torch.stack([s[i].mean for s in scales])[:, None], torch.stack([s[i].std for s in scales])[:, None])
        for i in (0, 1)
    )
    net = _Perceptrons(len(rows), (features.shape[1], config.width, config.width, targets.shape[1]), generator)
    net.to(device)
    adam = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    best = [math.inf] * len(rows)
    kept = copy.deepcopy(net)
    checks = {round(config.steps * (i + 1) / config.checks) for i in range(config.checks)}
    for step in range(config.steps):
        for group in adam.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        chosen = torch.stack(
            [r.training[torch.randint(len(r.training), (config.batch,), generator=generator).to(device)] for r in rows]
        )
        x, y = x_scale.to(features[chosen]), y_scale.to(targets[chosen])
        loss = (net(x) - y).square().mean((1, 2)).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step + 1 in checks:
            _keep_best(net, kept, best, features, targets, rows, scales)
    return [MLPProbe(*scales[i], kept.one(i)) for i in range(len(rows))]


class _Perceptrons(nn.Module):
    """P perceptrons of the same shape: `[P, B, D]` to `[P, B, S]`."""

    def __init__(self, count: int, widths: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(widths):
            drawn = torch.randn(count, before, after, generator=generator) / math.sqrt(before)
            self.weights.append(nn.Parameter(drawn))
            self.biases.append(nn.Parameter(torch.zeros(count, 1, after)))

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if index < last:
                x = F.gelu(x, approximate="tanh")
        return x

    def one(self, index: int) -> tuple[tuple[Tensor, Tensor], ...]:
        """Return the layers of one of them."""
        pairs = zip(self.weights, self.biases, strict=True)
        return tuple((weight[index].detach(), bias[index].detach()) for weight, bias in pairs)


@torch.no_grad()
def _keep_best(
    net: _Perceptrons,
    kept: _Perceptrons,
    best: list[float],
    features: Tensor,
    targets: Tensor,
    rows: Sequence[Rows],
    scales: Sequence[tuple[Scale, Scale]],
) -> None:
    """Copy each perceptron that has never done better on its validation rows."""
    for index, (held, (x_scale, y_scale)) in enumerate(zip(rows, scales, strict=True)):
        probe = MLPProbe(x_scale, y_scale, net.one(index))
        miss = y_scale.to(probe(features[held.validation])) - y_scale.to(targets[held.validation])
        error = float(miss.square().mean())
        if error < best[index]:
            best[index] = error
            for new, old in zip(net.parameters(), kept.parameters(), strict=True):
                old[index] = new[index]
