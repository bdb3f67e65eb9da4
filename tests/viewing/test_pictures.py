"""Pictures hold the frames they were given."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from worldmodel.errors import WorldModelError
from worldmodel.viewing.pictures import GAP, LABEL_WIDTH, contact_sheet, rollout_strip, write_png

FRAMES = np.random.default_rng(0).integers(0, 256, (7, 6, 10, 3), dtype=np.uint8)


def test_a_contact_sheet_holds_the_frames_row_by_row() -> None:
    sheet = contact_sheet(FRAMES, columns=3)
    assert sheet.shape == (3 * 6 + 2 * GAP, 3 * 10 + 2 * GAP, 3)
    for index, frame in enumerate(FRAMES):
        top, left = index // 3 * (6 + GAP), index % 3 * (10 + GAP)
        assert np.array_equal(sheet[top : top + 6, left : left + 10], frame)
    assert (sheet[-6:, 10:] == 255).all()
    assert (sheet[6 : 6 + GAP] == 255).all()


def test_a_strip_holds_each_row_behind_its_label() -> None:
    rows = [FRAMES.repeat(3, axis=1), FRAMES[::-1].repeat(3, axis=1)]
    strip = rollout_strip([("real", rows[0]), ("", rows[1])])
    assert strip.shape == (2 * 18 + GAP, LABEL_WIDTH + 7 * (10 + GAP) - GAP, 3)
    for row, frames in enumerate(rows):
        for column, frame in enumerate(frames):
            top, left = row * (18 + GAP), LABEL_WIDTH + column * (10 + GAP)
            assert np.array_equal(strip[top : top + 18, left : left + 10], frame)
    assert strip[:18, :LABEL_WIDTH].min() < 128
    assert (strip[18:, :LABEL_WIDTH] == 255).all()


def test_a_png_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.png"
    write_png(path, FRAMES[0])
    assert np.array_equal(cv2.imread(str(path))[..., ::-1], FRAMES[0])
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorldModelError, match="float64"):
        write_png(tmp_path / "a.png", np.zeros((4, 4, 3)))  # type: ignore[arg-type]
    with pytest.raises(WorldModelError, match="0 columns"):
        contact_sheet(FRAMES, columns=0)
    with pytest.raises(WorldModelError, match="No rows"):
        rollout_strip([])
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldModelError, match="cannot be written"):
        write_png(tmp_path / "file" / "a.png", FRAMES[0])
