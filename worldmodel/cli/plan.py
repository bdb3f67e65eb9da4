"""`worldmodel plan`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worldmodel.cli.kept import REPORT, begin_report, open_recording
from worldmodel.cli.progress import bar
from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import ControlReport, Evaluation, EvaluationConfig, evaluate
from worldmodel.training.checkpoint import load_model
from worldmodel.training.device import choose_compute
from worldmodel.viewing.control import write_control_videos
from worldmodel.viewing.trials import Trials


@dataclass(frozen=True)
class Command:
    """Control towards goal images from held-out episodes, and measure how well.

    Attributes:
        run_folder: folder of a trained run.
        recording: folder of the recording that it was trained on; found by itself where it is beside the run, or
            in `recordings/`. With --shifted, the folder of another.
        out: folder for the report and the videos; `plan` inside the run when left out, or `shifted`.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    recording: Annotated[Path | None, tyro.conf.Positional] = None
    out: Path | None = None
    config: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = field(default_factory=EvaluationConfig)
    device: str = "auto"

    def run(self) -> None:
        if self.config.shifted and self.recording is None:
            raise WorldModelError(
                "No recording was named, and --shifted takes one of another world than the run was trained in, which "
                "is not found by itself. Give its folder after the run's, or leave out --shifted."
            )
        out = self.out or self.run_folder / ("shifted" if self.config.shifted else "plan")
        with open_recording(self.run_folder, self.recording) as recording:
            evaluation = plan_with_bar(self.config, self.run_folder, recording, out, self.device)
        print_report(evaluation.report)
        Console().print(f"Videos and report: {out}")


def plan_with_bar(config: EvaluationConfig, run: Path, recording: Recording, out: Path, device: str) -> Evaluation:
    """Evaluate with a progress bar; write `config.json`, some trials, the videos and `report.json` into `out`."""
    compute = choose_compute(device)
    model = load_model(run, compute.device)
    with bar("Controlling") as shown:
        evaluation = evaluate(
            config,
            model=model,
            recording=recording,
            run=run,
            compute=compute,
            progress=lambda done, blocks: shown.update(done, blocks),
        )
    begin_report(out, config)
    Trials.of(evaluation).write(out)
    seconds_per_frame = model.interface.steps_per_frame * model.interface.control_seconds
    write_control_videos(evaluation, out / "videos", seconds_per_frame=seconds_per_frame)
    evaluation.report.write(out / REPORT)  # last: with it, planning counts as finished
    return evaluation


def print_report(report: ControlReport) -> None:
    """Print success beside the floors, as a table."""
    shift = f" of the task with {escape(report.env_arguments)}," if report.shifted else ""
    table = Table(
        title=(
            f"{report.plans} held-out goals{shift} {report.ahead} control steps ahead, budget {report.budget}, "
            f"tolerance {report.tolerance:g} {report.unit}"
        ),
        title_justify="left",
    )
    table.add_column("policy")
    table.add_column("at the goal in the end [95 %]")
    table.add_column("touched it at any time [95 %]")
    table.add_row(
        f"{report.planning.planner}, world model", str(report.success), str(report.success_ever), style="bold"
    )
    if report.oracle:
        name = f"{report.oracle_planner}, real simulator ({report.oracle.count} goals)"
        table.add_row(name, str(report.oracle), str(report.oracle_ever))
    for name, rate in report.floors.items():
        table.add_row(f"{name} actions", str(rate), str(report.floors_ever[name]))
    console = Console()
    console.print(table)
    if not report.oracle:
        console.print("Not played on the real simulator (worldmodel plan --oracle N).")
    console.print(
        f"{report.milliseconds_per_plan:,.0f} ms to plan for {report.plans} robots at once, "
        f"{report.milliseconds_for_one:,.0f} ms for one; {report.model_share:.0%} of it in the model."
    )
    console.print(
        f"Distance to the goal's latent a block ahead: {report.imagined_cost:.3f} as imagined, "
        f"{report.achieved_cost:.3f} as it came."
    )
