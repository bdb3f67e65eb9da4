"""`worldmodel view`."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.evaluation.evaluate import check_finished, check_fits
from worldmodel.training.checkpoint import load_model
from worldmodel.training.device import choose_compute
from worldmodel.training.trainer import read_train_config
from worldmodel.viewing.data import view_recording
from worldmodel.viewing.find import open_trained
from worldmodel.viewing.live.serve import LiveServer, ServeConfig, check_installed
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
            check_finished(self.run_folder, config)
            _, held_out = split_episodes(recording.episodes, config.held_out, config.seed)
            out = self.out or self.run_folder / "view"
            visible = config.objective.visible
            return view_rollout(model, recording, held_out, compute, out, visible=visible, horizon=self.horizon)


@dataclass(frozen=True)
class Live:
    """Steer the simulator and the model's dream side by side, on a local web page. Needs worldmodel[live].

    Attributes:
        run_folder: folder of a trained run.
        recording: folder of the recording that it was trained on; found by itself where it is beside the run, or
            in `recordings/`.
        device: "auto" takes CUDA where there is one, else the CPU.
        open_browser: open the page in a browser.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    recording: Annotated[Path | None, tyro.conf.Positional] = None
    config: Annotated[ServeConfig, tyro.conf.arg(name="")] = field(default_factory=ServeConfig)
    device: str = "auto"
    open_browser: bool = False

    def run(self) -> list[Path]:
        check_installed()
        with open_trained(self.run_folder, self.recording, choose_compute(self.device)) as trained:
            server = LiveServer(self.config, trained=trained)
            console = Console(highlight=False)
            console.print(f"Steer the dream at [bold]{server.url}[/] (Ctrl-C ends it)", soft_wrap=True)
            if self.open_browser:
                webbrowser.open(server.url)
            server.run()
        return []


@dataclass(frozen=True)
class Command:
    """Make videos and pictures to look at."""

    what: Annotated[
        Annotated[Data, tyro.conf.subcommand("data")]
        | Annotated[Rollout, tyro.conf.subcommand("rollout")]
        | Annotated[Live, tyro.conf.subcommand("live")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> None:
        for path in self.what.run():
            Console().print(str(path), soft_wrap=True)
