"""`worldmodel rerender`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from worldmodel.cli.info import describe
from worldmodel.cli.record import recording_bar
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.rerender import RerenderConfig, rerender


@dataclass(frozen=True)
class Command:
    """Film a recording again: at another size, from other cameras, with depth or segmentation.

    Attributes:
        recording: folder of the recording.
        out: folder for the new one.
        resume: continue what the folder holds.
    """

    recording: Annotated[Path, tyro.conf.Positional]
    out: Path
    config: Annotated[RerenderConfig, tyro.conf.arg(name="")] = field(default_factory=RerenderConfig)
    resume: bool = False

    def run(self) -> None:
        with Recording.open(self.recording) as source, recording_bar("Filming again") as tell:
            rerender(self.config, source, self.out, resume=self.resume, progress=tell)
        describe(Recording.open(self.out))
