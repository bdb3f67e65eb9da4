"""How a forecast goes wrong: measured where it is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from worldmodel.viewing.find import Trained
from worldmodel.viewing.forecast import Dreams, draw_forecast, dream_episodes, pixel_errors, view_forecast
from worldmodel.viewing.plots import write_figure

ERROR = np.array([[0.1, 0.5, 0.2], [0.1, 0.1, 0.1], [0.6, 0.9, 0.1], [0.1, 0.2, 0.7]])


def known() -> Dreams:
    """Four dreams of three frames, of a grey world; the third is wrong at once, in its upper left quarter."""
    real = np.full((4, 3, 16, 16, 3), 90, np.uint8)
    imagined = real.copy()
    imagined[2, :, :8, :8] = 250
    return Dreams(np.array([5, 6, 7, 8]), ERROR, np.ones((4, 3)), 0.4, real, imagined)


def test_the_parting_is_the_first_frame_that_is_off() -> None:
    assert known().parting().tolist() == [2, 4, 1, 3]


def test_errors_are_where_they_are_in_the_picture() -> None:
    apart = pixel_errors(known())
    assert apart.shape == (3, 16, 16)
    assert (apart[:, :8, :8] == 40).all()
    assert apart.sum() == 3 * 8 * 8 * 40


def test_the_dream_that_goes_wrong_first_is_the_one_shown(tmp_path: Path) -> None:
    pictures = []
    for name, colour in (("a", (250, 250, 250)), ("b", (250, 0, 0))):
        dreams = known()
        dreams.imagined[2, :, :8, :8] = colour
        write_figure(tmp_path / f"{name}.png", draw_forecast(dreams, 3))
        pictures.append(cv2.imread(str(tmp_path / f"{name}.png")))
    red = (pictures[1] == (0, 0, 250)).all(-1)
    assert red.sum() > 3 * 20 * 20
    assert np.flatnonzero(red.any(1)).min() > 600  # in the last row of plots
    unseen = replace(known(), imagined=known().imagined.copy())
    unseen.imagined[1] = (250, 0, 0)
    write_figure(tmp_path / "c.png", draw_forecast(unseen, 3))
    assert not (cv2.imread(str(tmp_path / "c.png")) == (0, 0, 250)).all(-1).any()


def test_held_out_episodes_are_dreamt(opened: Trained, tmp_path: Path) -> None:
    dreams = dream_episodes(opened, longest=4)
    assert dreams.episodes.tolist() == opened.held_out.tolist()
    assert dreams.error.shape == (1, 4)
    recorded = opened.recording.episode(int(opened.held_out[0])).frames
    assert np.array_equal(dreams.real[0], recorded[2:6])
    assert dreams.still[0, 0] > 0
    (path,) = view_forecast(opened, tmp_path)
    assert cv2.imread(str(path)).shape == (950, 1300, 3)
