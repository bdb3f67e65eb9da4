"""Videos: an episode each, and what is none is told."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from worldmodel.datasets.formats.exchange import import_recording
from worldmodel.datasets.formats.source import SourceConfig
from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError


def write(
    path: Path, *, frames: int = 12, fps: float = 25, height: int = 48, width: int = 80, code: str = "mp4v"
) -> Path:
    """Write a video whose left half is red, whose right half is blue, and which grows brighter."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), fps, (width, height))
    for number in range(frames):
        picture: NDArray[np.uint8] = np.zeros((height, width, 3), np.uint8)
        picture[:, : width // 2, 2], picture[:, width // 2 :, 0] = 100 + number, 100 + number
        writer.write(picture)
    writer.release()
    return path


@pytest.mark.parametrize(("suffix", "code"), [(".mp4", "mp4v"), (".avi", "MJPG"), (".webm", "VP90"), (".mkv", "mp4v")])
def test_videos_become_episodes(tmp_path: Path, suffix: str, code: str) -> None:
    for number, frames in enumerate((5, 90, 1)):
        write(tmp_path / f"{number}{suffix}", frames=frames, code=code)
    import_recording([str(tmp_path / f"*{suffix}")], tmp_path / "out")
    recording = Recording.open(tmp_path / "out")
    told = recording.provenance
    assert (told.env, told.height, told.width, told.low) == (f"video:0{suffix}", 64, 64, ())
    assert told.control_seconds == pytest.approx(0.04)
    assert np.diff(recording.frame_start).tolist() == [5, 90, 1]
    episode = recording.episode(1)
    assert episode.actions.shape == (89, 0)
    np.testing.assert_array_equal(episode.frame_step, np.arange(90))
    np.testing.assert_allclose(episode.time, np.arange(90) * 0.04)
    np.testing.assert_allclose(episode.frames[:, 30, 8].astype(int), [(100 + n, 0, 0) for n in range(90)], atol=16)
    np.testing.assert_allclose(episode.frames[:, 30, 56].astype(int), [(0, 0, 100 + n) for n in range(90)], atol=16)


def test_the_middle_is_cut_out_at_the_shape_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", height=40, width=160)
    import_recording([str(tmp_path / "a.mp4")], tmp_path / "out", config=SourceConfig(20, 40, fps=10))
    recording = Recording.open(tmp_path / "out")
    frame = recording.episode(0).frames[0]
    assert frame.shape == (20, 40, 3)
    assert recording.provenance.control_seconds == pytest.approx(0.1)
    assert frame[10, 15, 0] > 80 > frame[10, 15, 2]  # the border between the halves stays in the middle
    assert frame[10, 24, 2] > 80 > frame[10, 24, 0]


def test_rates_that_differ_are_named(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.mp4"), write(tmp_path / "b.mp4", fps=30)]
    with pytest.raises(WorldModelError, match=r"b\.mp4' has 30 frames per second, '.*a\.mp4' has 25"):
        import_recording([str(path) for path in paths], tmp_path / "out")


def test_an_import_goes_on_with_the_same_videos_alone(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    for folder, frames in (("one", 12), ("other", 20)):
        (tmp_path / folder).mkdir()
        for name in ("0.mp4", "1.mp4"):
            write(tmp_path / folder / name, frames=frames)
    one, other = (str(tmp_path / folder / "*.mp4") for folder in ("one", "other"))
    with pytest.raises(KeyboardInterrupt):
        import_recording([one], tmp_path / "out", progress=stop)
    told = r"its env_arguments is '{\"files\": 2, .* would be '{\"files\": 2, .*an import: the same files"
    with pytest.raises(WorldModelError, match=told):
        import_recording([other], tmp_path / "out", resume=True)
    write(tmp_path / "one/2.mp4")
    with pytest.raises(WorldModelError, match=r'would be \'{"files": 3, '):
        import_recording([one], tmp_path / "out", resume=True)
    import_recording([str(tmp_path / "one/[01].mp4")], tmp_path / "out", resume=True)
    assert np.diff(Recording.open(tmp_path / "out").frame_start).tolist() == [12, 12]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("cut", "is cut short or damaged at byte"),
        ("empty", "it is empty"),
        ("text", "is no MP4 video: it begins with"),
        ("playlist", "is no MP4 video: it begins with"),
        ("blank", "(can be decoded|breaks off)"),
        ("pipe", "is no file"),
        ("nothing", "does not exist"),
        ("suffix", r"ends in '\.gif'; expected a video: \.mp4"),
    ],
)
def test_what_is_no_whole_video_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], fault: str, told: str
) -> None:
    path = write(tmp_path / "a.mp4")
    raw = path.read_bytes()
    start = raw.index(b"mdat") + 4
    contents = {
        "cut": raw[: len(raw) * 2 // 3],
        "empty": b"",
        "text": b"Dear all,\n" * 50,
        "playlist": b"#EXTM3U\n#EXTINF:5\nhttp://127.0.0.1:9/x.ts\n",
        "blank": raw[:start] + bytes(raw.index(b"moov") - 4 - start) + raw[raw.index(b"moov") - 4 :],
    }
    if fault in contents:
        path.write_bytes(contents[fault])
    elif fault == "suffix":
        path = path.rename(tmp_path / "a.gif")
    else:
        path.unlink()
        if fault == "pipe":
            os.mkfifo(path)
    with pytest.raises(WorldModelError, match=told):
        import_recording([str(path)], tmp_path / "out", format="video")
    assert capfd.readouterr().err == ""  # FFmpeg would write there, past Python


def test_uneven_frames_are_refused(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="av is not installed: pip install 'worldmodel[video]'")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", 25, options={"x264-params": "log-level=error"})
        stream.height, stream.width = 48, 80
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 80, 3), number, np.uint8), format="rgb24")
            frame.pts = number if number < 10 else 3 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(WorldModelError, match=r"frame \d+ is shown at .* Give it an even rate: ffmpeg"):
        import_recording([str(tmp_path / "a.mp4")], tmp_path / "out")
