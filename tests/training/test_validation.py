"""Numbers about held-out clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldmodel.datasets.clips import Clips
from worldmodel.datasets.reader import Recording
from worldmodel.training.checkpoint import load_model
from worldmodel.training.device import Compute
from worldmodel.training.validation import Validation


def test_what_is_measured_and_drawn(trained: Path, reacher: Path, cpu: Compute) -> None:
    model = load_model(trained)
    with Recording.open(reacher) as recording:
        validation = Validation(Clips(recording, np.array([0, 3]), length=5), visible=2)
    values = validation.measure(model, cpu).scalars()
    assert values.keys() == {
        "valid/error_1",
        "valid/error_3",
        "valid/copy_last_1",
        "valid/copy_last_3",
        "valid/proposal",
        "valid/mean_action",
        "valid/ensemble",
        "valid/disagreement",
        "latent/rank",
        "latent/spread",
    }
    assert np.isfinite(list(values.values())).all()
    assert 1 <= values["latent/rank"] <= 8
    assert values == validation.measure(model, cpu).scalars()
    strip = validation.strip(model, cpu)
    assert strip.shape == (2 * 32, 5 * 32, 3)
    assert np.array_equal(strip[:32, 32:64], validation.batch.frames[0, 1])
