"""`worldmodel export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from worldmodel.cli.progress import bar
from worldmodel.datasets.formats.exchange import export_recording
from worldmodel.datasets.formats.registry import FormatName
from worldmodel.datasets.reader import Recording


@dataclass(frozen=True)
class Command:
    """Write a recording as a dataset of LeRobot, Minari, robomimic or stable-worldmodel, or as videos.

    Attributes:
        recording: folder of the recording.
        out: file (robomimic, stable-worldmodel) or folder to write; Minari takes its name for the dataset's id.
        format: which one.
        camera: what this camera saw alone; all cameras when left out, of which video takes the main one.
        lossy: make videos (video, lerobot) that players play, instead of ones that keep every pixel.
    """

    recording: Annotated[Path, tyro.conf.Positional]
    out: Path
    format: FormatName
    camera: str | None = None
    lossy: bool = False

    def run(self) -> None:
        with Recording.open(self.recording) as recording, bar("Exporting") as shown:
            export_recording(
                recording,
                self.out,
                format=self.format,
                camera=self.camera,
                lossy=self.lossy,
                progress=lambda done, total: shown.update(done, total, "frames"),
            )
        Console().print(str(self.out), soft_wrap=True)
