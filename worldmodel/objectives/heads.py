"""Small networks on top of latents, on which losses act: they are thrown away after training."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from worldmodel.errors import WorldModelError
from worldmodel.objectives.joint import joint


@dataclass(frozen=True)
class HeadConfig:
    """A perceptron.

    Attributes:
        width: of the hidden layers.
        size: of what comes out.
        hidden: number of hidden layers.
        norm: batch norm after each hidden layer.
    """

    width: int = 256
    size: int = 64
    hidden: int = 1
    norm: bool = True

    def __post_init__(self) -> None:
        for name in ("width", "size", "hidden"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} of a head is {getattr(self, name)}; expected at least 1.")


class Head(nn.Module):
    """Map `[N, F]` to `[N, size]`, float32.

    Args:
        features: F.
    """

    def __init__(self, config: HeadConfig, *, features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((features, *(config.width,) * config.hidden)):
            # a bias would be taken away by the norm
            layers += [nn.Linear(before, after, bias=not config.norm)]
            layers += [BatchNorm(after)] if config.norm else []
            layers += [nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(config.width, config.size))

    def forward(self, latents: Tensor) -> Tensor:
        projected: Tensor = self.layers(latents)
        return projected.float()


class BatchNorm(nn.Module):
    """Batch norm over the joint batch of all processes, on any device.

    It has no running statistics: a head is never used after training.

    Source: Ioffe and Szegedy, Batch normalization, 2015.
    """

    def __init__(self, features: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each column of `x [N, features]`, float32."""
        x = x.float()
        centred = x - joint(x.mean(0, keepdim=True)).mean(0)
        variance = joint(centred.square().mean(0, keepdim=True)).mean(0)
        return centred * (variance + self.epsilon).rsqrt() * self.weight + self.bias
