"""`worldmodel import`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from worldmodel.cli.info import describe
from worldmodel.cli.progress import bar
from worldmodel.datasets.formats.exchange import import_recording
from worldmodel.datasets.formats.registry import FormatName
from worldmodel.datasets.formats.source import SourceConfig
from worldmodel.datasets.reader import Recording


@dataclass(frozen=True)
class Command:
    """Make a recording of videos, or of a dataset of Minari, LeRobot, robomimic or stable-worldmodel.

    Attributes:
        sources: videos, which become an episode each; or one dataset: its file, its folder, or its id in Minari.
        out: folder for the recording.
        format: of the sources; "auto" looks at them.
        resume: continue what the folder holds of the same sources.
    """

    sources: Annotated[tuple[str, ...], tyro.conf.Positional]
    out: Path
    format: Literal["auto"] | FormatName = "auto"
    config: Annotated[SourceConfig, tyro.conf.arg(name="")] = field(default_factory=SourceConfig)
    resume: bool = False

    def run(self) -> None:
        with bar("Importing") as shown:
            imported = import_recording(
                self.sources,
                self.out,
                format=self.format,
                config=self.config,
                resume=self.resume,
                progress=lambda done, total: shown.update(done, total, "frames"),
            )
        for note in imported.notes:
            Console(stderr=True).print(f"[yellow]{note}[/]")
        describe(Recording.open(self.out))
