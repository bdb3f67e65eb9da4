"""`worldmodel record`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from worldmodel.cli.info import describe
from worldmodel.cli.progress import bar
from worldmodel.config import to_json
from worldmodel.datasets.production import Finished, Progress
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import RecordConfig, record


@dataclass(frozen=True)
class Command:
    """Record video of a MuJoCo world into a folder of HDF5 files. `worldmodel envs` lists the worlds.

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
    """Record, with a progress bar."""
    with recording_bar("Recording") as tell:
        record(config, out, resume=resume, progress=tell)
    (out / "config.json").write_text(to_json(config), encoding="utf-8")


@contextmanager
def recording_bar(title: str) -> Iterator[Progress]:
    """Show a bar that a recording tells how it goes."""
    started = time.perf_counter()
    with bar(title) as shown:

        def tell(finished: Finished) -> None:
            rate = finished.frames / (time.perf_counter() - started)
            text = f"{finished.unit}, {rate:,.0f} frames/s, {finished.bytes / 1e6:,.1f} MB"
            shown.update(min(finished.done, finished.total), finished.total, text)

        yield tell
