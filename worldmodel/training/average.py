"""The moving average of weights, which forecasts better than the last of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of some parameters.

    Args:
        parameters: with their names, by which the average is saved.
        memory: share of itself that it keeps at a step; in the first steps less, so that the first weights, which
            have learned nothing, are soon forgotten: (1 + n) / (10 + n).

    Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992; the warm-up as in
    TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], memory: float) -> None:
        self._named, self._memory = dict(parameters), memory
        self._held = {name: value.detach().clone() for name, value in self._named.items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights after step `step`, counted from 0."""
        keep = min(self._memory, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self._held.values()), list(self._named.values()), 1 - keep)

    @torch.no_grad()
    def install(self) -> None:
        """Make the average the parameters' values."""
        for name, parameter in self._named.items():
            parameter.copy_(self._held[name])

    def state(self) -> dict[str, Tensor]:
        """Return the average, by the parameters' names."""
        return dict(self._held)

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` returned."""
        for name, value in self._held.items():
            value.copy_(state[name])
