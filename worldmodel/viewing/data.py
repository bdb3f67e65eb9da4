"""See what was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.reader import Recording
from worldmodel.evenly import evenly
from worldmodel.viewing.pictures import GAP, LABEL_HEIGHT, contact_sheet, paper, write_png
from worldmodel.viewing.traces import write_coverage, write_traces
from worldmodel.viewing.video import panels, write_video

COLUMNS, ROWS = 4, 3  # episodes in the video
SHEET_EPISODES, SHEET_FRAMES = 8, 10  # rows and columns of the contact sheet
PANEL = 160  # width of an enlarged frame, about, pixels
FILM_BYTES = 2**29  # of the video's pixels; longer episodes are shown faster


def view_recording(recording: Recording, out: Path) -> list[Path]:
    """Write a contact sheet and a video of episodes chosen evenly from a recording, its traces and its coverage.

    Each row of the sheet is an episode from its first frame to its last. In the video an episode that has ended
    rests on its last frame; where episodes are so long that the video would not fit into memory, only every so many
    frames are shown, and its titles tell how much faster than life that is.

    Args:
        out: folder; `recording.png`, `recording.mp4`, `traces.png` and `coverage.png` are written there.

    Returns:
        The files.
    """
    shown = evenly(recording.episodes, COLUMNS * ROWS)
    rows = shown[evenly(len(shown), SHEET_EPISODES)]
    first, last = recording.frame_start[rows], recording.frame_start[rows + 1] - 1
    sheet = first[:, None] + np.linspace(0, last - first, SHEET_FRAMES, axis=1).round().astype(np.int64)
    picture, video = out / "recording.png", out / "recording.mp4"
    write_png(picture, contact_sheet(read_frames_at(recording, sheet.reshape(-1)), columns=SHEET_FRAMES))
    films = _read_films(recording, shown)
    write_video(video, film_grid(films, columns=COLUMNS), fps=frames_per_second(recording.provenance))
    traces, coverage = out / "traces.png", out / "coverage.png"
    every = np.arange(recording.episodes)
    write_traces(traces, recording, evenly(recording.episodes, COLUMNS))
    write_coverage(coverage, recording, every)
    return [picture, video, traces, coverage]


def recording_facts(recording: Recording) -> list[tuple[str, str]]:
    """Return what a recording holds and where it comes from, as names and values, in short."""
    p, manifest = recording.provenance, recording.manifest
    size = sum((recording.folder / entry.file).stat().st_size for entry in manifest.shards)
    steps = int(recording.action_start[-1])
    return [
        ("environment", p.env),
        ("episodes", f"{recording.episodes:,}"),
        ("frames", f"{recording.frames:,} of {p.height} x {p.width} pixels"),
        ("robot time", f"{steps * p.control_seconds / 3600:.2f} h"),
        ("on disk", f"{size / 1e6:,.1f} MB, {size / recording.frames:,.0f} bytes per frame"),
        ("policy, seed", f"{p.policy or 'not known'}, {p.seed}"),
        ("versions", f"worldmodel {p.software.worldmodel}, mujoco {p.software.mujoco}"),
    ]


def read_frames_at(recording: Recording, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Read frames, told by their rows among all of a recording `[N]`, without what lies between; `[N, H, W, 3]`."""
    frames = np.empty((len(rows), 1, *recording.frame_shape), np.uint8)
    recording.read_clips(rows, frames)
    return frames[:, 0]


def film_grid(films: list[tuple[str, NDArray[np.uint8]]], *, columns: int) -> NDArray[np.uint8]:
    """Put titled films `[T, H, W, 3]`, in rows of `columns`; all last as long as the longest."""
    length = max(len(frames) for _, frames in films)
    scale = enlargement(films[0][1].shape[2])
    columns = min(columns, len(films))
    _, height, width, _ = films[0][1].shape
    height, width = LABEL_HEIGHT + scale * height + GAP, scale * width + GAP
    grid = paper(length, -(-len(films) // columns) * height - GAP, columns * width - GAP)
    for index, (title, frames) in enumerate(films):  # one after another: enlarged, they fill the memory
        held = frames[np.minimum(np.arange(length), len(frames) - 1)]
        top, left = index // columns * height, index % columns * width
        grid[:, top : top + height - GAP, left : left + width - GAP] = panels([(title, held)], scale=scale)
    return grid


def enlargement(width: int) -> int:
    """Return how many times to enlarge frames of `width` pixels to see them well."""
    return max(1, round(PANEL / width))


def _read_films(recording: Recording, episodes: NDArray[np.int64]) -> list[tuple[str, NDArray[np.uint8]]]:
    """Read episodes, with titles; of long ones as many frames, evenly spaced, as fit into `FILM_BYTES`."""
    starts, lengths = recording.frame_start[episodes], np.diff(recording.frame_start)[episodes]
    height, width, colours = recording.frame_shape
    size = len(episodes) * height * width * colours * enlargement(width) ** 2  # of one frame of them all
    stride = -(-int(lengths.max()) * size // FILM_BYTES)
    faster = f", {stride} times as fast" if stride > 1 else ""
    films = []
    for episode, start, length in zip(episodes.tolist(), starts.tolist(), lengths.tolist(), strict=True):
        frames = np.empty((-(-length // stride), *recording.frame_shape), np.uint8)
        recording.read_frames(start, frames, stride=stride)
        films.append((f"episode {episode}{faster}", frames))
    return films


def frames_per_second(provenance: Provenance) -> float:
    """Return the rate at which a recording's frames follow one another in its world."""
    return 1 / (provenance.control_seconds * provenance.steps_per_frame)
