"""`worldmodel rank`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from rich.table import Table

from worldmodel.cli.kept import REPORT
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import ControlReport
from worldmodel.evaluation.measure import MeasureReport
from worldmodel.evaluation.pool import check_alike
from worldmodel.evaluation.ranking import RankedMetric, rank_metrics


@dataclass(frozen=True)
class Command:
    """Tell how each label-free metric orders runs of one task, against how well they plan. Nothing is written.

    Attributes:
        runs: folders of three or more trained runs, each with what `worldmodel measure` and `worldmodel plan` told of
            it in `measure/report.json` and `plan/report.json`.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]

    def run(self) -> None:
        if len({run.resolve() for run in self.runs}) < len(self.runs):
            raise WorldModelError(f"runs are {_listed(self.runs)}; expected each once: a run counts once.")
        measures = [MeasureReport.read(run / "measure" / REPORT) for run in self.runs]
        controls = [ControlReport.read(run / "plan" / REPORT) for run in self.runs]
        _check_one_task(self.runs, controls)
        check_alike(controls)
        _check_measured_alike(self.runs, measures)
        successes = [control.success.value for control in controls]
        print_ranking(rank_metrics(measures, successes, torch.Generator().manual_seed(0)), Console(highlight=False))


def print_ranking(ranking: Sequence[RankedMetric], console: Console) -> None:
    """Print how well each label-free metric orders the runs by their success."""
    head = ("metric", "Spearman, 1 is best", "by chance")
    rows = [(metric.name, f"{metric.correlation:+.2f}", f"{metric.chance:.3f}") for metric in ranking]
    console.print(text_table(f"Label-free metrics against success, over {ranking[0].runs} runs", [head, *rows]))


def text_table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of text, its head first."""
    table = Table(title=title, title_justify="left")
    head, *rest = rows
    for name in head:
        table.add_column(name)
    for row in rest:
        table.add_row(*row)
    return table


def _check_one_task(runs: Sequence[Path], controls: Sequence[ControlReport]) -> None:
    tasks: dict[str, list[Path]] = {}
    for run, control in zip(runs, controls, strict=True):
        tasks.setdefault(f"{control.env} with {control.env_arguments}", []).append(run)
    if len(tasks) > 1:
        told = "; ".join(f"{task}: {_listed(of_it)}" for task, of_it in tasks.items())
        raise WorldModelError(
            f"The runs are of {len(tasks)} tasks, whose success and metrics do not compare: {told}. Rank those of one "
            "task at a time."
        )


def _check_measured_alike(runs: Sequence[Path], measures: Sequence[MeasureReport]) -> None:
    seen = [(report.visible, len(report.rollout_error)) for report in measures]
    for run, (visible, ahead) in zip(runs, seen, strict=True):
        if (visible, ahead) != seen[0]:
            raise WorldModelError(
                f"'{run}' was measured with {visible} frames visible and {ahead} forecast, '{runs[0]}' with "
                f"{seen[0][0]} and {seen[0][1]}; expected the same. Measure again: worldmodel measure {run}"
            )


def _listed(runs: Sequence[Path]) -> str:
    return ", ".join(f"'{run}'" for run in runs)
