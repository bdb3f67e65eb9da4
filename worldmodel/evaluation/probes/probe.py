"""What every probe has in common: the rows it learns from, how it reads, and how well it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Probe(Protocol):
    """Reads targets from features: `[N, D]` to `[N, S]`, float32."""

    def __call__(self, features: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Rows:
    """Which rows a probe learns from.

    Attributes:
        training: int64, rows to fit to.
        validation: int64, rows of other episodes, to choose by.
    """

    training: Tensor
    validation: Tensor


@dataclass(frozen=True)
class Scale:
    """Shift and scale that give columns mean 0 and standard deviation 1; columns that do not vary only move."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Scale:
        """Return the scale of `values [N, D]`."""
        std, mean = torch.std_mean(values, dim=0, correction=0)
        return cls(mean, torch.where(std > 1e-8 * std.max(), std, torch.ones_like(std)))

    def to(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std

    def back(self, values: Tensor) -> Tensor:
        return values * self.std + self.mean


def r_squared(predicted: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Return R² of each column of `predicted [..., N, S]` against `target [N, S]`: `[..., S]`.

    1 is perfect, 0 as good as the mean, below 0 worse.

    Args:
        known: `[M, S]`, of whose variance, which is not 0, errors are a share; the target itself when left out.
    """
    error = (predicted.double() - target.double()).square().mean(-2)
    return 1 - error / (target if known is None else known).double().var(0, correction=0)


def rmse(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the root mean squared error of each column, `[..., S]`, in the target's units."""
    return (predicted.double() - target.double()).square().mean(-2).sqrt()
