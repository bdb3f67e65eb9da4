"""See what was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.reader import Recording
from worldmodel.evenly import evenly
from worldmodel.viewing.pictures import GAP, contact_sheet, paper, write_png
from worldmodel.viewing.traces import write_coverage, write_traces
from worldmodel.viewing.video import panels, write_video

COLUMNS, ROWS = 4, 3  # episodes in the video
SHEET_EPISODES, SHEET_FRAMES = 8, 10  # rows and columns of the contact sheet
PANEL = 160  # width of an enlarged frame, about, pixels


def view_recording(recording: Recording, out: Path) -> list[Path]:
    """Write a contact sheet and a video of episodes chosen evenly from a recording, its traces and its coverage.

    Each row of the sheet is an episode from its first frame to its last. In the video an episode that has ended
    rests on its last frame.

    Args:
        out: folder; `recording.png`, `recording.mp4`, `traces.png` and `coverage.png` are written there.

    Returns:
        The files.
    """
    shown = [recording.episode(int(index)) for index in evenly(recording.episodes, COLUMNS * ROWS)]
    rows = [shown[int(place)].frames for place in evenly(len(shown), SHEET_EPISODES)]
    sheet = [frames[np.linspace(0, len(frames) - 1, SHEET_FRAMES).round().astype(np.int64)] for frames in rows]
    films = [(f"episode {episode.index}", episode.frames) for episode in shown]
    picture, video = out / "recording.png", out / "recording.mp4"
    write_png(picture, contact_sheet(np.concatenate(sheet), columns=SHEET_FRAMES))
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


def film_grid(films: list[tuple[str, NDArray[np.uint8]]], *, columns: int) -> NDArray[np.uint8]:
    """Put titled films `[T, H, W, 3]`, in rows of `columns`; all last as long as the longest."""
    length = max(len(frames) for _, frames in films)
    scale = enlargement(films[0][1].shape[2])
    columns = min(columns, len(films))
    held = [(title, frames[np.minimum(np.arange(length), len(frames) - 1)]) for title, frames in films]
    rows = [panels(held[first : first + columns], scale=scale) for first in range(0, len(held), columns)]
    _, height, width, _ = rows[0].shape
    grid = paper(length, len(rows) * (height + GAP) - GAP, width)
    for index, row in enumerate(rows):
        top = index * (height + GAP)
        grid[:, top : top + height, : row.shape[2]] = row
    return grid


def enlargement(width: int) -> int:
    """Return how many times to enlarge frames of `width` pixels to see them well."""
    return max(1, round(PANEL / width))


def frames_per_second(provenance: Provenance) -> float:
    """Return the rate at which a recording's frames follow one another in its world."""
    return 1 / (provenance.control_seconds * provenance.steps_per_frame)
