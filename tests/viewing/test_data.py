"""See a recording: the files hold its frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Episode
from worldmodel.viewing.data import film_grid, read_frames_at, view_recording
from worldmodel.viewing.pictures import GAP, LABEL_HEIGHT


def test_a_recording_is_seen(by_hand: Path, make_episode: Callable[[int], Episode], tmp_path: Path) -> None:
    with Recording.open(by_hand) as recording:
        picture, video, traces, coverage = view_recording(recording, tmp_path / "seen")
    assert picture == tmp_path / "seen" / "recording.png"
    sheet = cv2.imread(str(picture))[..., ::-1]
    for row in range(7):
        frames, top = make_episode(row).frames, row * (8 + GAP)
        assert np.array_equal(sheet[top : top + 8, :8], frames[0])
        assert np.array_equal(sheet[top : top + 8, -8:], frames[-1])
    reader = cv2.VideoCapture(str(video))
    assert round(reader.get(cv2.CAP_PROP_FRAME_COUNT)) == 6
    assert reader.get(cv2.CAP_PROP_FRAME_WIDTH) == 4 * (160 + GAP) - GAP
    _, first = reader.read()
    shown = cv2.resize(first[LABEL_HEIGHT : LABEL_HEIGHT + 160, :160, ::-1], (8, 8), interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(int) - make_episode(0).frames[0]).mean() < 20
    for path in (traces, coverage):
        assert cv2.imread(str(path)) is not None


def test_a_film_that_has_ended_rests_on_its_last_frame() -> None:
    rng = np.random.default_rng(0)
    films = [(str(length), rng.integers(0, 256, (length, 160, 160, 3), dtype=np.uint8)) for length in (2, 4, 3)]
    grid = film_grid(films, columns=2)
    height = LABEL_HEIGHT + 160
    assert grid.shape == (4, 2 * height + GAP, 2 * 160 + GAP, 3)
    for place, (_, frames) in enumerate(films):
        top, left = place // 2 * (height + GAP) + LABEL_HEIGHT, place % 2 * (160 + GAP)
        held = grid[:, top : top + 160, left : left + 160]
        assert np.array_equal(held[: len(frames)], frames)
        assert (held[len(frames) :] == frames[-1]).all()
    assert (grid[:, height:, 160:] == 255).all()


def test_long_episodes_are_shown_faster_in_bounded_memory(
    by_hand: Path, make_episode: Callable[[int], Episode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filmed: list[np.ndarray] = []
    monkeypatch.setattr("worldmodel.viewing.data.write_video", lambda _, frames, fps: filmed.append(frames))
    with Recording.open(by_hand) as recording:
        sheets = []
        for room in (6, 3):  # frames of the longest episode, all of which has 6
            monkeypatch.setattr("worldmodel.viewing.data.FILM_BYTES", room * 7 * 160 * 160 * 3)
            picture, *_ = view_recording(recording, tmp_path / str(room))
            sheets.append(picture.read_bytes())
    whole, fast = filmed
    assert (len(whole), len(fast)) == (6, 3)
    assert sheets[0] == sheets[1]
    for film, stride in ((whole, 1), (fast, 2)):
        for place in range(7):
            top, left = place // 4 * (LABEL_HEIGHT + 160 + GAP) + LABEL_HEIGHT, place % 4 * (160 + GAP)
            shown = film[:, top : top + 160 : 20, left : left + 160 : 20]
            frames = make_episode(place).frames[::stride]
            assert np.array_equal(shown[: len(frames)], frames)
            assert (shown[len(frames) :] == frames[-1]).all()
    assert (whole[0, :LABEL_HEIGHT, :160] != fast[0, :LABEL_HEIGHT, :160]).any()  # the title tells


def test_frames_are_read_without_those_between(by_hand: Path, make_episode: Callable[[int], Episode]) -> None:
    with Recording.open(by_hand) as recording:
        start = recording.frame_start
        frames = read_frames_at(recording, np.array([start[5] + 2, start[1], start[1] + 5]))
    expected = [make_episode(5).frames[2], make_episode(1).frames[0], make_episode(1).frames[5]]
    assert np.array_equal(frames, expected)
