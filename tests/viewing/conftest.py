"""A trained run with its recording, opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from worldmodel.training.device import Compute
from worldmodel.viewing.find import Trained, open_trained


@pytest.fixture(scope="session")
def opened(trained: Path, reacher: Path, cpu: Compute) -> Iterator[Trained]:
    """The tiny run with its recording."""
    with open_trained(trained, reacher, cpu) as opened:
        yield opened
