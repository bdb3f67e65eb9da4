"""How well physical states are read: by dimension, in physical units, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.evaluation.physical import Dimension, Kind
from worldmodel.evaluation.probes.probe import r_squared, rmse


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds; the latter 0 for a single seed."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: Tensor) -> Spread:
        """Return the spread of values `[seeds]`."""
        return cls(float(values.mean()), float(values.std()) if len(values) > 1 else 0.0)

    def __str__(self) -> str:
        return f"{self.mean:.2f}±{self.std:.2f}"


@dataclass(frozen=True)
class Readings:
    """How well a probe reads.

    Attributes:
        r2: for each dimension.
        rmse: for each dimension, in its unit.
        angle_rmse: for each angle, in the order in which `angles_of` names them, rad: the error of the angle that the
            sine and cosine that were read tell together.
        positions, velocities: mean R² over the dimensions of the kind; None where there are none.
        seeds: how many probes were trained.
    """

    r2: tuple[Spread, ...]
    rmse: tuple[Spread, ...]
    angle_rmse: tuple[Spread, ...]
    positions: Spread | None
    velocities: Spread | None
    seeds: int


def angles_of(dimensions: Sequence[Dimension]) -> tuple[str, ...]:
    """Return the names of all angles that are told by sine and cosine."""
    names = [dimension.angle for dimension in dimensions if dimension.angle]
    return tuple(name for name in dict.fromkeys(names) if names.count(name) == 2)


def score(
    predicted: Sequence[Tensor], target: Tensor, dimensions: Sequence[Dimension], known: Tensor | None = None
) -> Readings:
    """Score what was read.

    Args:
        predicted: `[N, S]`, of each seed.
        target: `[N, S]`.
        known: `[M, S]`, states to whose variance R² compares the errors, where the targets are few of them.
    """
    read = torch.stack(list(predicted))
    r2, error = r_squared(read, target, known), rmse(read, target)

    def mean(kind: Kind) -> Spread | None:
        columns = [column for column, dimension in enumerate(dimensions) if dimension.kind == kind]
        return Spread.of(r2[:, columns].mean(1)) if columns else None

    return Readings(
        r2=tuple(Spread.of(column) for column in r2.T),
        rmse=tuple(Spread.of(column) for column in error.T),
        angle_rmse=tuple(_angle_error(name, read, target, dimensions) for name in angles_of(dimensions)),
        positions=mean("position"),
        velocities=mean("velocity"),
        seeds=len(read),
    )


def _angle_error(name: str, read: Tensor, target: Tensor, dimensions: Sequence[Dimension]) -> Spread:
    sine, cosine = (column for column, dimension in enumerate(dimensions) if dimension.angle == name)
    angle, known = (torch.atan2(x[..., sine], x[..., cosine]) for x in (read, target))
    apart = torch.remainder(angle - known + torch.pi, 2 * torch.pi) - torch.pi
    return Spread.of(apart.double().square().mean(1).sqrt())
