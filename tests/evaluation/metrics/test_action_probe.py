"""The action probe on transitions whose cause is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from worldmodel.evaluation.metrics import action_probe as module
from worldmodel.evaluation.metrics.action_probe import Transitions, action_transfer
from worldmodel.evaluation.probes.mlp import MLPProbe, MLPProbeConfig, fit_mlps
from worldmodel.evaluation.probes.probe import Rows

CONFIG = MLPProbeConfig(width=32, steps=250, batch=128)


def transitions(generator: torch.Generator, obedience: float) -> Transitions:
    """A point with velocity; the forecast follows `obedience` times the action."""
    place, velocity, action = (torch.randn(1500, 2, generator=generator) for _ in range(3))
    step = lambda force: place + velocity + force  # noqa: E731
    before, episode = torch.cat([place - velocity, place], dim=1), np.repeat(np.arange(15), 100)
    return Transitions(before, step(action), step(obedience * action), action, episode)


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


@pytest.mark.parametrize(
    ("lengths", "cut"),
    [
        ((1, 1, 1, 1, 1, 1, 1, 1, 3, 9), 8),  # a fifth of ten episodes, however long they are
        ((9, 1), 9),
        ((1, 9), 1),
        ((10,), 8),  # nothing but its own end to stop by
    ],
)
def test_training_is_stopped_by_whole_episodes(
    lengths: tuple[int, ...], cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Rows] = []

    def fit(config: MLPProbeConfig, *arguments: Any) -> list[MLPProbe]:
        used.extend(arguments[2])
        return fit_mlps(config, *arguments)

    monkeypatch.setattr(module, "fit_mlps", fit)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    latents = torch.randn(len(episode), 4, generator=torch.Generator().manual_seed(0))
    some = Transitions(latents, latents[:, :2], latents[:, 2:], latents[:, :1], episode)
    config = MLPProbeConfig(width=4, steps=1, batch=2, checks=1)
    action_transfer(config, some, some, torch.Generator().manual_seed(0))
    for rows in used:
        assert rows.training.tolist() == list(range(cut))
        assert rows.validation.tolist() == list(range(cut, len(episode)))
    assert len(used) == 2
