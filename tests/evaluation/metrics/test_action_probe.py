"""The action probe on transitions whose cause is known."""

from __future__ import annotations

import pytest
import torch

from worldmodel.evaluation.metrics.action_probe import Transitions, action_transfer
from worldmodel.evaluation.probes.mlp import MLPProbeConfig

CONFIG = MLPProbeConfig(width=32, steps=250, batch=128)


def transitions(generator: torch.Generator, obedience: float) -> Transitions:
    """A point with velocity; the forecast follows `obedience` times the action."""
    place, velocity, action = (torch.randn(1500, 2, generator=generator) for _ in range(3))
    step = lambda force: place + velocity + force  # noqa: E731
    return Transitions(torch.cat([place - velocity, place], dim=1), step(action), step(obedience * action), action)


@pytest.mark.parametrize(
    ("obedience", "expected"),
    [
        (1.0, (1.0, 1.0, 1.0, 1.0)),
        (0.0, (1.0, 0.0, None, 0.0)),  # blind to actions: nothing can be told from its forecasts
        (-1.0, (1.0, -3.0, -3.0, 1.0)),  # the opposite action: an error of (2 a)², four times the variance
    ],
)
def test_known_forecasts(obedience: float, expected: tuple[float | None, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    training, held_out = (transitions(generator, obedience) for _ in range(2))
    found = action_transfer(CONFIG, training, held_out, generator)
    entries = (found.real_real, found.real_predicted, found.predicted_real, found.predicted_predicted)
    for value, known in zip(entries, expected, strict=True):
        assert known is None or value == pytest.approx(known, abs=0.12)
