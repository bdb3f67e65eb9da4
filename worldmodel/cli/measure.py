"""`worldmodel measure`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from worldmodel.cli.kept import REPORT, begin_report, open_recording
from worldmodel.cli.progress import bar
from worldmodel.datasets.reader import Recording
from worldmodel.evaluation.measure import MeasureConfig, MeasureReport, measure
from worldmodel.evaluation.ranking import METRICS
from worldmodel.training.checkpoint import load_model
from worldmodel.training.device import choose_compute


@dataclass(frozen=True)
class Command:
    """Tell what a run has learned, without labels, on episodes that it was not trained on.

    Only `state_cka` looks at physical states, where some were recorded.

    Attributes:
        run_folder: folder of a trained run.
        recording: folder of the recording that it was trained on; found by itself where it is beside the run, or
            in `recordings/`.
        out: folder for `report.json`; `measure` inside the run when left out.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    recording: Annotated[Path | None, tyro.conf.Positional] = None
    out: Path | None = None
    config: Annotated[MeasureConfig, tyro.conf.arg(name="")] = field(default_factory=MeasureConfig)
    device: str = "auto"

    def run(self) -> None:
        out = self.out or self.run_folder / "measure"
        with open_recording(self.run_folder, self.recording) as recording:
            report = measure_with_bar(self.config, self.run_folder, recording, out, self.device)
        print_report(report)
        Console().print(f"Report: {out / REPORT}", soft_wrap=True)


def measure_with_bar(config: MeasureConfig, run: Path, recording: Recording, out: Path, device: str) -> MeasureReport:
    """Measure with a progress bar; write `config.json` and `report.json` into `out`."""
    compute = choose_compute(device)
    model = load_model(run, compute.device)
    with bar("Encoding") as shown:
        report = measure(
            config,
            model=model,
            recording=recording,
            run=run,
            compute=compute,
            progress=lambda done, total: shown.update(done, total),
        )
    begin_report(out, config)
    report.write(out / REPORT)
    return report


def print_report(report: MeasureReport) -> None:
    """Print every number with the direction that is good, and the forecasts by horizon."""
    console = Console()
    table = Table(
        title=f"{report.env}: {report.frames:,} frames of {report.episodes} held-out episodes, latents of "
        f"{report.latent} dimensions",
        title_justify="left",
    )
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("better")
    table.add_column("what it tells")
    for name, metric in METRICS.items():
        value = metric.of(report)
        table.add_row(name, f"no {metric.needs}" if value is None else f"{value:.3f}", metric.better, metric.meaning)
    console.print(table)
    horizons = Table(
        title=f"Squared error as a share of the latents' variance, {report.visible} frames visible",
        title_justify="left",
    )
    horizons.add_column("frames ahead")
    for ahead in range(1, len(report.rollout_error) + 1):
        horizons.add_column(str(ahead), justify="right")
    for name, errors in (
        ("forecast", report.rollout_error),
        ("copy the last frame seen", report.copy_last),
        ("forecast for shuffled actions", report.shuffled_actions),
    ):
        if errors:
            horizons.add_row(name, *(f"{error:.3f}" for error in errors))
    console.print(horizons)
    console.print(f"{report.clips:,} clips, {report.seconds:.1f} s.")
