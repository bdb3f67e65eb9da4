"""`worldmodel info`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from worldmodel.datasets.reader import Recording


@dataclass(frozen=True)
class Command:
    """Say what is in a recording.

    Attributes:
        recording: folder of the recording.
    """

    recording: Annotated[Path, tyro.conf.Positional]

    def run(self) -> None:
        describe(Recording.open(self.recording))


def describe(recording: Recording) -> None:
    """Print a table of what a recording holds and where it comes from."""
    p = recording.provenance
    files = [recording.folder / entry.file for entry in recording.manifest.shards]
    size = sum(path.stat().st_size for path in files)
    hours = int(recording.action_start[-1]) * p.control_seconds / 3600
    raw = recording.frames * p.picture_bytes
    drawn = p.simulation
    table = Table(title=str(recording.folder), show_header=False, title_justify="left")
    for name, value in (
        ("environment", p.env),
        ("episodes", f"{recording.episodes:,}"),
        (
            "frames",
            f"{recording.frames:,} of {p.height} x {p.width} pixels, {', '.join(p.channels)} of "
            f"{', '.join(camera.name or 'the free camera' for camera in p.cameras)}"
            + (f", quality {drawn.quality}" if drawn else ""),
        ),
        (
            "actions",
            f"{int(recording.action_start[-1]):,} of {len(p.low)} actuators, {p.steps_per_frame} between frames",
        ),
        ("robot time", f"{hours:.2f} h, {p.control_seconds:g} s between actions"),
        ("policy, seed", f"{p.policy or 'not known'}, {p.seed}"),
        (
            "on disk",
            f"{size / 1e6:,.1f} MB in {len(files)} shards: {size / recording.frames:,.0f} bytes per frame, "
            f"{size / raw:.1%} of raw",
        ),
        ("recorded in", f"{recording.manifest.seconds:.1f} s" + (f", drawn by {drawn.gl_renderer}" if drawn else "")),
        (
            "versions",
            f"worldmodel {p.software.worldmodel}, mujoco {p.software.mujoco}, gymnasium {p.software.gymnasium}, "
            f"python {p.software.python}",
        ),
    ):
        table.add_row(name, value)
    Console().print(table)
