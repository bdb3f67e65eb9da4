"""The page about a trained model: it is drawn, and each part shows its data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from worldmodel.errors import WorldModelError
from worldmodel.evaluation.interval import wilson
from worldmodel.viewing.summary import EpisodePicture, SummaryData, write_summary


@pytest.fixture
def data() -> SummaryData:
    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (13, 16, 16, 3), dtype=np.uint8)
    episodes = tuple(
        EpisodePicture(real, real[::-1], real[5], number > 0, np.linspace(0.2, 0.05 - 0.02 * number, 30))
        for number in range(3)
    )
    training = [{"step": 0.0, "train/loss": 1.0}] + [
        {"step": 100.0 * n, "valid/error_1": 1 / (n + 1), "valid/copy_last_1": 0.5} for n in range(5)
    ]
    return SummaryData(
        rollout_real=real,
        rollout_imagined=real[::-1],
        visible=3,
        episodes=episodes,
        tolerance=0.02,
        unit="m",
        success=wilson(2, 3),
        floors={"random": 0.1, "zero": 0.0},
        training=training,
    )


def draw(path: Path, data: SummaryData) -> np.ndarray:
    write_summary(path, data)
    image = cv2.imread(str(path))
    assert image is not None
    return image


def test_the_page_is_drawn_with_the_frames_in_it(data: SummaryData, tmp_path: Path) -> None:
    red = np.zeros((13, 16, 16, 3), np.uint8)
    red[..., 0] = 250
    image = draw(tmp_path / "a.png", replace(data, rollout_imagined=red))
    assert image.shape == (900, 1400, 3)
    assert (image == 255).all(-1).mean() < 0.9
    assert (image == (0, 0, 250)).all(-1).sum() > 13 * 50 * 50  # BGR: 13 frames, drawn large


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ({"rollout_real": np.zeros((13, 16, 16, 3), np.uint8)}, (0, 300)),
        ({"visible": 5}, (0, 300)),
        ({"tolerance": 0.1}, (550, 900)),
        ({"success": wilson(3, 3)}, (550, 900)),
        ({"floors": {"random": 0.5, "zero": 0.0}}, (550, 900)),
        ({"training": []}, (550, 900)),
    ],
)
def test_other_data_change_their_part_alone(
    change: dict[str, Any], rows: tuple[int, int], data: SummaryData, tmp_path: Path
) -> None:
    one, other = draw(tmp_path / "a.png", data), draw(tmp_path / "b.png", replace(data, **change))
    changed = np.flatnonzero((one != other).any((1, 2)))
    assert len(changed)
    assert rows[0] <= changed.min()
    assert changed.max() < rows[1]


def test_what_does_not_fit_is_refused(data: SummaryData, tmp_path: Path) -> None:
    episode = data.episodes[0]
    for wrong in (
        replace(data, episodes=()),
        replace(data, rollout_imagined=data.rollout_real[:5]),
        replace(data, episodes=(replace(episode, goal=np.zeros((8, 8, 3), np.uint8)),)),
    ):
        with pytest.raises(WorldModelError, match="expected"):
            write_summary(tmp_path / "a.png", wrong)
    assert not list(tmp_path.iterdir())
