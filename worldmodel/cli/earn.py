"""`worldmodel earn`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from worldmodel.cli.kept import REPORT, begin_report
from worldmodel.cli.progress import bar
from worldmodel.evaluation.returns import ReturnsConfig, ReturnsReport, evaluate_returns
from worldmodel.training.checkpoint import load_model
from worldmodel.training.device import choose_compute


@dataclass(frozen=True)
class Command:
    """Plan for the reward of the environment that a run was trained in, and measure what is earned.

    Attributes:
        run_folder: folder of a trained run, whose recording has a reward.
        out: folder for `report.json`; `earn` inside the run when left out.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    out: Path | None = None
    config: Annotated[ReturnsConfig, tyro.conf.arg(name="")] = field(default_factory=ReturnsConfig)
    device: str = "auto"

    def run(self) -> None:
        out = self.out or self.run_folder / "earn"
        compute = choose_compute(self.device)
        model = load_model(self.run_folder, compute.device)
        with bar("Earning", self.config.episodes) as shown:
            report = evaluate_returns(
                self.config,
                model=model,
                run=self.run_folder,
                compute=compute,
                progress=lambda done, total: shown.update(done, total),
            )
        begin_report(out, self.config)
        report.write(out / REPORT)
        print_returns(report)
        Console().print(f"Report: {out / REPORT}", soft_wrap=True)


def print_returns(report: ReturnsReport) -> None:
    """Print returns beside the floors, as a table."""
    table = Table(
        title=f"{report.env}: {report.planned.count} episodes of at most {report.steps} control steps",
        title_justify="left",
    )
    table.add_column("policy")
    table.add_column("mean return [95 %, Student's t]")
    table.add_column("least to most")
    means = {f"{report.planner}, world model": ("planned", report.planned)}
    means |= {f"{name} actions": (name, mean) for name, mean in report.floors.items()}
    for policy, (name, mean) in means.items():
        returns = report.returns[name]
        style = "bold" if name == "planned" else ""
        table.add_row(policy, str(mean), f"{min(returns):.4g} to {max(returns):.4g}", style=style)
    console = Console()
    console.print(table)
    console.print(f"{report.milliseconds_per_plan:,.0f} ms to plan, {report.seconds:,.0f} s in all.")
