"""`worldmodel view`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.evaluation.evaluate import check_finished, check_fits
from worldmodel.training.checkpoint import load_model
from worldmodel.training.config import read_train_config
from worldmodel.training.device import choose_compute
from worldmodel.viewing.data import view_recording
from worldmodel.viewing.rollout import view_rollout


@dataclass(frozen=True)
class Data:
    """Show a recording: a sheet of frames and a video of some episodes.

    Attributes:
        recording: folder of the recording.
        out: folder for the pictures; `view` inside the recording when left out.
    """

    recording: Annotated[Path, tyro.conf.Positional]
    out: Path | None = None

    def run(self) -> list[Path]:
        with Recording.open(self.recording) as recording:
            return view_recording(recording, self.out or self.recording / "view")


@dataclass(frozen=True)
class Rollout:
    """Show what a model imagines on held-out episodes: real, imagined, difference.

    Attributes:
        run_folder: folder of a trained run.
        recording: folder of the recording that it was trained on.
        out: folder for the pictures; `view` inside the run when left out.
        horizon: frames to imagine.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    recording: Annotated[Path, tyro.conf.Positional]
    out: Path | None = None
    horizon: int = 5
    device: str = "auto"

    def run(self) -> list[Path]:
        compute = choose_compute(self.device)
        config = read_train_config(self.run_folder)
        model = load_model(self.run_folder, compute.device)
        with Recording.open(self.recording) as recording:
            check_fits(model, recording)
            check_finished(self.run_folder)
            _, held_out = split_episodes(recording.episodes, config.held_out, config.seed)
            out = self.out or self.run_folder / "view"
            visible = config.masking.visible
            return view_rollout(model, recording, held_out, compute, out, visible=visible, horizon=self.horizon)


@dataclass(frozen=True)
class Command:
    """Make videos and pictures to look at."""

    what: Annotated[
        Annotated[Data, tyro.conf.subcommand("data")] | Annotated[Rollout, tyro.conf.subcommand("rollout")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> None:
        for path in self.what.run():
            Console().print(str(path), soft_wrap=True)
