"""`worldmodel record`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from worldmodel.cli.info import describe
from worldmodel.cli.progress import bar
from worldmodel.config import to_json
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import Finished, RecordConfig, record


@dataclass(frozen=True)
class Command:
    """Record video of a MuJoCo world into a folder of HDF5 files.

    Attributes:
        out: folder to record into.
        resume: continue what the folder holds.
    """

    out: Path = Path("recordings/reacher")
    config: Annotated[RecordConfig, tyro.conf.arg(name="")] = field(default_factory=RecordConfig)
    resume: bool = False

    def run(self) -> None:
        record_with_bar(self.config, self.out, resume=self.resume)
        describe(Recording.open(self.out))


def record_with_bar(config: RecordConfig, out: Path, *, resume: bool) -> None:
    """Record, with a progress bar in frames."""
    started, frames, size = time.perf_counter(), 0, 0
    with bar("Recording", config.episodes * config.episode_frames) as shown:

        def tell(finished: Finished) -> None:
            nonlocal frames, size
            frames, size = frames + finished.frames, size + finished.bytes
            rate = frames / (time.perf_counter() - started)
            shown.advance(finished.frames, f"{rate:,.0f} frames/s, {size / 1e6:,.1f} MB")

        record(config, out, resume=resume, progress=tell)
    (out / "config.json").write_text(to_json(config), encoding="utf-8")
