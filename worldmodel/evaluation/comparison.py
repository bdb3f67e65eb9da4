"""Objectives side by side: what each has learned, and how far it gets a robot, on the same recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from worldmodel.config import to_json
from worldmodel.evaluation.evaluate import ControlReport
from worldmodel.evaluation.interval import Rate
from worldmodel.evaluation.markdown import markdown_table
from worldmodel.evaluation.measure import MeasureReport
from worldmodel.evaluation.pool import pool
from worldmodel.evaluation.probes.report import Features, Method, ProbeReport, Source
from worldmodel.evaluation.ranking import FEWEST, METRICS, RankedMetric, rank_metrics

READ: tuple[Source, Method, Features] = ("world model", "MLP", "z_t-1, z_t")
SHOWN = ("rankme", "lidar", "straightness", "rollout_error_last", "action_transfer")  # columns of a table


@dataclass(frozen=True)
class ComparedRun:
    """One run of one objective, and its reports.

    Attributes:
        objective: its name.
        minutes: wall-clock time of training, min.
        control: None where the world is none of our tasks, and no goals can be judged.
        probe: None where nobody recorded states.
    """

    objective: str
    seed: int
    minutes: float
    measure: MeasureReport
    probe: ProbeReport | None
    control: ControlReport | None


@dataclass(frozen=True)
class ComparedObjective:
    """All runs of one objective.

    Attributes:
        success, success_ever: over all trials of all runs; None where nothing was controlled.
        positions, velocities: R² of a perceptron that reads physical states from two latents in a row, by share of
            labels, mean over runs; velocities cannot be told from one frame.
        metrics: those in `METRICS` that the recording has what they need for; mean over runs.
        minutes: of training, mean over runs.
    """

    objective: str
    runs: int
    success: Rate | None
    success_ever: Rate | None
    positions: dict[str, float]
    velocities: dict[str, float]
    metrics: dict[str, float]
    minutes: float


@dataclass(frozen=True)
class Comparison:
    """The tables, and which metrics would have told who wins.

    Attributes:
        env: where the recording comes from.
        objectives: the most successful first.
        floors: success of policies that know nothing.
        ranking: how each label-free metric orders the runs, against their success; empty below three runs.
    """

    env: str
    objectives: tuple[ComparedObjective, ...]
    floors: dict[str, Rate]
    ranking: tuple[RankedMetric, ...]

    def write(self, folder: Path) -> None:
        """Write `comparison.json`, and both tables as `comparison.md`."""
        (folder / "comparison.json").write_text(to_json(self), encoding="utf-8")
        tables = (markdown_table(rows) for rows in (self.achieved(), self.measured()))
        (folder / "comparison.md").write_text("\n".join(tables), encoding="utf-8")

    def achieved(self) -> list[list[str]]:
        """Return what the objectives come to in control, and what is read from their latents, the head first."""
        labels = list(self.objectives[0].positions)
        head = ["objective", "success [95 %]", "ever", *(f"R² positions, {share} labels" for share in labels)]
        head += [*(f"R² velocities, {share}" for share in labels[-1:]), "min"]
        rows = [
            [
                row.objective,
                str(row.success or ""),
                f"{row.success_ever.value:.0%}" if row.success_ever else "",
                *(f"{row.positions[share]:.2f}" for share in labels),
                *(f"{row.velocities[share]:.2f}" if share in row.velocities else "" for share in labels[-1:]),
                f"{row.minutes:.1f}",
            ]
            for row in self.objectives
        ]
        blank = [""] * (len(head) - 2)
        return [head, *rows, *([f"({name} actions)", str(rate), *blank] for name, rate in self.floors.items())]

    def measured(self) -> list[list[str]]:
        """Return some of what is told of their latents without a label, the head first."""
        rows = [
            [row.objective, *(f"{row.metrics[name]:.2f}" if name in row.metrics else "" for name in SHOWN)]
            for row in self.objectives
        ]
        return [["objective", *SHOWN], *rows]


def compare(runs: Sequence[ComparedRun]) -> Comparison:
    """Put runs of several objectives on one recording into one table.

    Args:
        runs: at least one; those of one objective have different seeds.
    """
    names = list(dict.fromkeys(run.objective for run in runs))
    objectives = [_together([run for run in runs if run.objective == name]) for name in names]
    objectives.sort(key=lambda row: -row.success.value if row.success else 0.0)
    controls = [run.control for run in runs if run.control]
    floors = pool(_distinct(controls)).floors if controls else {}
    ranking: tuple[RankedMetric, ...] = ()
    if len(controls) == len(runs) and len(runs) >= FEWEST:
        successes = [control.success.value for control in controls]
        ranking = rank_metrics([run.measure for run in runs], successes, torch.Generator().manual_seed(0))
    return Comparison(runs[0].measure.env, tuple(objectives), floors, ranking)


def _together(runs: Sequence[ComparedRun]) -> ComparedObjective:
    controls = [run.control for run in runs if run.control]
    pooled = pool(controls) if controls else None
    probes = [run.probe for run in runs if run.probe]
    metrics = {}
    for name, metric in METRICS.items():
        values = [value for value in (metric.of(run.measure) for run in runs) if value is not None]
        if values:
            metrics[name] = sum(values) / len(values)
    return ComparedObjective(
        objective=runs[0].objective,
        runs=len(runs),
        success=pooled.success if pooled else None,
        success_ever=pooled.success_ever if pooled else None,
        positions=_mean(probes, "positions"),
        velocities=_mean(probes, "velocities"),
        metrics=metrics,
        minutes=sum(run.minutes for run in runs) / len(runs),
    )


def _distinct(controls: Sequence[ControlReport]) -> list[ControlReport]:
    """Return one report of each set of trials: policies without a model do the same in all of them."""
    return list({(control.training_seed, control.seed): control for control in controls}.values())


def _mean(probes: Sequence[ProbeReport], kind: Literal["positions", "velocities"]) -> dict[str, float]:
    """Return mean R² by share of labels, such as "10%", of a perceptron on two latents in a row."""
    found: dict[str, list[float]] = {}
    for probe in probes:
        for result in probe.results:
            spread = getattr(result.readings, kind)
            if (result.source, result.method, result.features) == READ and spread:
                found.setdefault(f"{result.labels:.3g}", []).append(spread.mean)
    return {f"{100 * float(share):.3g}%": sum(values) / len(values) for share, values in found.items()}
