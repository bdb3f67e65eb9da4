"""Videos: what is written is what can be read back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from worldmodel.errors import WorldModelError
from worldmodel.viewing.pictures import GAP, LABEL_HEIGHT
from worldmodel.viewing.video import panels, write_video

COLOURS = np.array([[220, 30, 30], [30, 200, 40], [20, 40, 210], [230, 220, 40], [128, 128, 128]], np.uint8)


def read_video(path: Path) -> tuple[np.ndarray, float]:
    """Return frames `[T, H, W, 3]`, RGB, and frames per second."""
    reader = cv2.VideoCapture(str(path))
    frames = []
    while (read := reader.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    return np.array(frames), reader.get(cv2.CAP_PROP_FPS)


def plain(height: int, width: int) -> np.ndarray:
    return np.broadcast_to(COLOURS[:, None, None], (len(COLOURS), height, width, 3)).copy()


@pytest.mark.parametrize(("fps", "size"), [(10.0, (48, 64)), (1 / 0.06, (49, 65)), (4.0, (16, 16))])
def test_colours_order_and_number_come_back(fps: float, size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "new" / "film.mp4"
    write_video(path, plain(*size), fps=fps)
    frames, rate = read_video(path)
    height, width = size
    assert frames.shape == (5, height + height % 2, width + width % 2, 3)
    assert rate == pytest.approx(fps, rel=0.05)
    assert np.abs(frames.astype(int) - COLOURS[:, None, None]).max() < 12
    assert [file.name for file in path.parent.iterdir()] == ["film.mp4"]
    assert b"vp09" in path.read_bytes()


def test_left_is_left_and_top_is_top(tmp_path: Path) -> None:
    frames = np.zeros((3, 32, 48, 3), np.uint8)
    frames[:, :16, :24] = (250, 20, 20)
    write_video(tmp_path / "a.mp4", frames, fps=5)
    read = read_video(tmp_path / "a.mp4")[0].astype(int)
    assert np.abs(read[:, 2:12, 2:20] - (250, 20, 20)).max() < 20
    assert read[:, 20:].max() < 20
    assert read[:, :, 30:].max() < 20


@pytest.mark.parametrize(
    ("name", "frames", "fps", "message"),
    [
        ("a.mp4", np.zeros((2, 8, 8, 3)), 5.0, "float64"),
        ("a.mp4", np.zeros((2, 8, 8), np.uint8), 5.0, r"\[2, 8, 8\]"),
        ("a.mp4", np.zeros((0, 8, 8, 3), np.uint8), 5.0, r"\[0, 8, 8, 3\]"),
        ("a.mp4", np.zeros((2, 8, 8, 3), np.uint8), 0.0, "0.0 frames per second"),
        ("a.mp4", np.zeros((2, 8, 8, 3), np.uint8), float("nan"), "nan frames per second"),
        ("a.avi", np.zeros((2, 8, 8, 3), np.uint8), 5.0, "'.avi'; expected '.mp4'"),
    ],
)
def test_what_is_no_video_is_refused(name: str, frames: np.ndarray, fps: float, message: str, tmp_path: Path) -> None:
    with pytest.raises(WorldModelError, match=message):
        write_video(tmp_path / name, frames, fps=fps)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldModelError, match="cannot be written"):
        write_video(tmp_path / "file" / "a.mp4", plain(8, 8), fps=5)
    (tmp_path / ".b.partial.mp4").mkdir()
    with pytest.raises(WorldModelError, match="cannot be written"):
        write_video(tmp_path / "b.mp4", plain(8, 8), fps=5)
    assert not (tmp_path / "b.mp4").exists()


def test_panels_hold_each_column_enlarged_below_its_title() -> None:
    rng = np.random.default_rng(0)
    films = [rng.integers(0, 256, (3, 8, 40, 3), dtype=np.uint8) for _ in range(3)]
    image = panels([("real", films[0]), ("imagined", films[1]), ("", films[2])], scale=2)
    assert image.shape == (3, LABEL_HEIGHT + 16, 3 * 80 + 2 * GAP, 3)
    for column, film in enumerate(films):
        left = column * (80 + GAP)
        assert np.array_equal(image[:, LABEL_HEIGHT::2, left : left + 80 : 2], film)
        assert np.array_equal(image[:, LABEL_HEIGHT + 1 :: 2, left + 1 : left + 80 : 2], film)
        assert (image[:, :LABEL_HEIGHT, left : left + 80].min() < 128) == (column < 2)


def test_panels_that_do_not_fit_are_refused() -> None:
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    with pytest.raises(WorldModelError, match="No columns"):
        panels([], scale=1)
    with pytest.raises(WorldModelError, match="'b' are"):
        panels([("a", frames), ("b", frames[:2])], scale=1)
    with pytest.raises(WorldModelError, match="0 times"):
        panels([("a", frames)], scale=0)
