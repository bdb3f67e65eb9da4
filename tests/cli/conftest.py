"""Commands compute in full precision, however busy the machine is."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bfloat16 never pay: a measurement takes time, and what it finds depends on what else is running.

    A model that has learned for a moment has latents so alike that bfloat16 cannot tell them apart.
    """
    monkeypatch.setattr("worldmodel.training.device.matmul_flops", lambda device, dtype: 1e9)
