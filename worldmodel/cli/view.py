"""`worldmodel view`."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from worldmodel.cli.info import describe
from worldmodel.cli.progress import bar
from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError
from worldmodel.training.device import choose_compute
from worldmodel.viewing.data import view_recording
from worldmodel.viewing.find import open_trained
from worldmodel.viewing.forecast import view_forecast
from worldmodel.viewing.latent import view_latent
from worldmodel.viewing.live.serve import LiveServer, ServeConfig, check_installed
from worldmodel.viewing.plan import view_plan
from worldmodel.viewing.report import SECTIONS, view_report
from worldmodel.viewing.rollout import view_rollout
from worldmodel.viewing.trials import find_run, read_report


@dataclass(frozen=True)
class Data:
    """Show recordings: a sheet of frames, a video of some episodes, traces, where the states have been, a table.

    Attributes:
        recordings: their folders, or a file in each.
        out: folder for the pictures; `view` inside each recording when left out. Of several recordings, each gets a
            folder of its own name in it, so no two of them may be called the same.
    """

    recordings: Annotated[tuple[Path, ...], tyro.conf.Positional]
    out: Path | None = None

    def run(self) -> list[Path]:
        folders = [path.parent if path.is_file() else path for path in self.recordings]
        if self.out:
            _check_names(folders, self.out)
        paths = []
        for folder in folders:
            with Recording.open(folder) as recording:
                describe(recording)
                inside = self.out / folder.resolve().name if self.out and len(folders) > 1 else self.out
                paths += view_recording(recording, inside or folder / "view")
        return paths


def _check_names(folders: list[Path], out: Path) -> None:
    """Refuse recordings of the same name, whose pictures would take each other's place."""
    named: dict[str, Path] = {}
    for folder in folders:
        name = folder.resolve().name
        if name in named:
            raise WorldModelError(
                f"'{named[name]}' and '{folder}' are both called '{name}', and their pictures would go into the same "
                f"folder '{out / name}'; expected different names. Show them one by one, or leave out --out."
            )
        named[name] = folder


@dataclass(frozen=True)
class Rollout:
    """Show what a model imagines on held-out episodes: real, imagined, difference, and how it goes wrong.

    Attributes:
        run_folder: folder of a trained run.
        recording: folder of the recording that it was trained on; found by itself where it is beside the run, or
            in `recordings/`.
        out: folder for the pictures; `view` inside the run when left out.
        horizon: frames to imagine in the video.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    recording: Annotated[Path | None, tyro.conf.Positional] = None
    out: Path | None = None
    horizon: int = 5
    device: str = "auto"

    def run(self) -> list[Path]:
        with open_trained(self.run_folder, self.recording, choose_compute(self.device)) as t:
            out, lengths = (
                self.out or self.run_folder / "view",
                {"visible": t.model.most_visible, "horizon": self.horizon},
            )
            strips = view_rollout(t.model, t.recording, t.held_out, t.compute, out, **lengths)
            return strips + view_forecast(t, out)


@dataclass(frozen=True)
class Latent:
    """Show the latents: PCA and t-SNE coloured by physics, spectrum, distances to goals; also for TensorBoard.

    Attributes:
        run_folder: folder of a trained run.
        recording: folder of the recording that it was trained on; found by itself where it is beside the run, or
            in `recordings/`.
        out: folder for the pictures; `view` inside the run when left out.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    recording: Annotated[Path | None, tyro.conf.Positional] = None
    out: Path | None = None
    device: str = "auto"

    def run(self) -> list[Path]:
        with open_trained(self.run_folder, self.recording, choose_compute(self.device)) as trained:
            return view_latent(trained, self.out or self.run_folder / "view")


@dataclass(frozen=True)
class Plan:
    """Show the planner at work on trials of a report: what it tried, what it chose, what then happened.

    Attributes:
        report: folder that `worldmodel plan` wrote, or its report.json.
        run_folder: folder of the trained run; found by itself where the report is inside it or beside it.
        recording: folder of the recording that it was trained on; found by itself where it is beside the run, or
            in `recordings/`.
        out: folder for the pictures; `view` inside the report's folder when left out.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    report: Annotated[Path, tyro.conf.Positional]
    run_folder: Path | None = None
    recording: Path | None = None
    out: Path | None = None
    device: str = "auto"

    def run(self) -> list[Path]:
        folder, *_ = read_report(self.report)
        run = self.run_folder or find_run(folder)
        with open_trained(run, self.recording, choose_compute(self.device)) as trained:
            return view_plan(trained, folder, self.out or folder / "view")


@dataclass(frozen=True)
class Report:
    """Put all that can be seen of a run on one page, which opens from the disk without a network.

    Attributes:
        run_folder: folder of a trained run.
        recording: folder of the recording that it was trained on; found by itself where it is beside the run, or
            in `recordings/`.
        out: the page; `report.html` inside the run when left out. Its pictures and videos are also in `view` beside.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    recording: Annotated[Path | None, tyro.conf.Positional] = None
    out: Path | None = None
    device: str = "auto"

    def run(self) -> list[Path]:
        trained = open_trained(self.run_folder, self.recording, choose_compute(self.device))
        with trained, bar("Drawing", len(SECTIONS)) as shown:
            return [view_report(trained, self.out or self.run_folder / "report.html", shown.update)]


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
    """Look at data, at what a model believes and plans, and steer its dream."""

    what: Annotated[
        Annotated[Data, tyro.conf.subcommand("data")]
        | Annotated[Rollout, tyro.conf.subcommand("rollout")]
        | Annotated[Latent, tyro.conf.subcommand("latent")]
        | Annotated[Plan, tyro.conf.subcommand("plan")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[Live, tyro.conf.subcommand("live")],
        tyro.conf.arg(name=""),
    ]

    def run(self) -> None:
        for path in self.what.run():
            Console().print(str(path), soft_wrap=True)
