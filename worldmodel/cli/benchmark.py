"""`worldmodel benchmark`: the rows of the table of results, from nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from worldmodel.cli.kept import differences, is_made, one_process_only, refuse_other_settings
from worldmodel.cli.pipeline import MODEL, PLAN, RECORDING, PipelineConfig, run_pipeline
from worldmodel.datasets.recorder import RecordConfig
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.benchmark import HEAD, MARKDOWN, BenchmarkRow, BenchmarkTable, Failures
from worldmodel.evaluation.evaluate import ControlReport, EvaluationConfig, ProtocolName
from worldmodel.evaluation.pool import pool
from worldmodel.evaluation.recipes import RECIPES, recipe_of
from worldmodel.planning.policy import PlanningConfig
from worldmodel.planning.registry import PlannerName
from worldmodel.training.checkpoint import Position, has_checkpoint, newest, read_card
from worldmodel.training.config import TrainConfig
from worldmodel.viewing.control import missed_videos


@dataclass(frozen=True)
class Command:
    """Make rows of the table of results: record, train and evaluate tasks, each with several training seeds.

    Each seed has a recording of its own, and goals 25 control steps ahead with a budget of 50. What is finished is
    kept: the same command goes on where it stopped, and other tasks are put into the same table. With other settings of
    planning, trials are planned again in the place of the earlier ones; those of recording and training are refused.

    Attributes:
        tasks: named without "worldmodel/" and "-v0"; all of the benchmark when left out.
        out: folder for <task>/seed-<n>/{recording,model,plan}, <task>/pool.json, table.md and table.json.
        seeds: of recording, training and trials, one run each.
        frames: to record for each run; the task's recipe when left out.
        minutes: wall-clock time of each training, min; the task's recipe when left out.
        episodes: trials of each run.
        oracle: how many of them are also played on the real simulator, which takes seconds for a plan where the model
            takes milliseconds.
        planner: who searches.
        protocol: "near" as above, or "far", with goals 75 control steps ahead and a budget of 150.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    tasks: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    out: Path = Path("runs/benchmark")
    seeds: tuple[int, ...] = (0, 1, 2)
    frames: int | None = None
    minutes: float | None = None
    episodes: int = 100
    oracle: int = 10
    planner: PlannerName = PlanningConfig.planner
    protocol: ProtocolName = "near"
    device: str = "auto"

    def run(self) -> None:
        run_benchmark({task: self._config(task) for task in self.tasks or RECIPES}, self.seeds, self.out, self.device)

    def _config(self, task: str) -> PipelineConfig:
        recipe = recipe_of(task)
        minutes = recipe.minutes if self.minutes is None else self.minutes
        frames = recipe.frames if self.frames is None else self.frames
        return PipelineConfig(
            record=RecordConfig(env=f"worldmodel/{task}-v0", frames=frames),
            train=TrainConfig(minutes=minutes),
            plan=EvaluationConfig(
                planning=PlanningConfig(planner=self.planner),
                protocol=self.protocol,
                episodes=self.episodes,
                oracle=self.oracle,
            ),
        )


@dataclass(frozen=True)
class Run:
    """One task with one training seed, in a folder of its own."""

    task: str
    config: PipelineConfig
    folder: Path

    @property
    def seed(self) -> int:
        return self.config.train.seed

    @property
    def position(self) -> Position | None:
        """Where its training stands; None before the first checkpoint."""
        run = self.folder / MODEL
        return read_card(newest(run)).position if has_checkpoint(run) else None

    @property
    def finished(self) -> bool:
        """Whether there is a trained model, and a report by the present settings."""
        position = self.position
        return position is not None and position.finished and is_made(self._report, self.config.plan)

    @property
    def minutes_left(self) -> float:
        """What is left of the time given for training, min; 0 where only steps are given."""
        position, minutes = self.position, self.config.train.minutes
        if minutes is None or (position and position.finished):
            return 0.0
        return max(0.0, minutes - (position.seconds / 60 if position else 0.0))

    def check(self) -> None:
        """Refuse a recording or a model that was made with other settings.

        Raises:
            WorldModelError: names the settings that differ.
        """
        refuse_other_settings(self.folder / RECORDING, self.config.record)
        if self.position:
            refuse_other_settings(self.folder / MODEL, self.config.train)

    def make(self, device: str, console: Console) -> None:
        """Make what is not there yet; plan again where the settings for it are new."""
        differing = differences(self.folder / PLAN, self.config.plan)
        if differing:
            console.print(f"Planning again, with other settings: {escape('; '.join(differing))}.")
        with run_pipeline(self.config, self.folder, device):
            pass

    def report(self) -> ControlReport:
        """Return how control went."""
        return ControlReport.read(self._report)

    def failures(self, table: Path) -> Failures:
        """Return what failed; `table` is the folder to which paths are relative."""
        videos = self.folder / PLAN / "videos"
        names = tuple(path.name for path in missed_videos(videos))
        return Failures(self.seed, videos.relative_to(table).as_posix(), names)

    @property
    def _report(self) -> Path:
        return self.folder / PLAN / "report.json"


def run_benchmark(configs: Mapping[str, PipelineConfig], seeds: tuple[int, ...], out: Path, device: str) -> None:
    """Make and print a row for each task, and put it into the table in `out`.

    Args:
        configs: by name of the task; each is run once with every seed.

    Raises:
        WorldModelError: no seeds, or one twice; or `out` holds recordings or models of other settings, which is
            found out before anything is made.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise WorldModelError(f"seeds are {seeds}; expected at least one, and each once: a run counts once.")
    one_process_only("A benchmark")
    console = Console(highlight=False)
    runs = {
        task: [Run(task, config.with_seed(seed), out / task / f"seed-{seed}") for seed in seeds]
        for task, config in configs.items()
    }
    for run in (run for of_task in runs.values() for run in of_task):
        run.check()
    BenchmarkTable.read(out)  # a damaged table is told before anything is made
    pace = _Pace([run for of_task in runs.values() for run in of_task if not run.finished])
    for task, of_task in runs.items():
        for run in of_task:
            if run.finished:
                console.print(f"[bold]{task}, seed {run.seed}[/]: finished before, kept.")
            else:
                console.print(f"[bold]{task}, seed {run.seed}[/]. {pace.told()}")
                run.make(device, console)
        table = BenchmarkTable.put(_row(task, of_task, out), out)
    _print(BenchmarkTable(tuple(row for row in table.rows if row.task in runs)), out, console)
    console.print(f"Table, with the names of all videos of failures: {out / MARKDOWN}", soft_wrap=True)


class _Pace:
    """Tells how long is left, by the minutes that trainings are given and what came beside them so far."""

    def __init__(self, runs: list[Run]) -> None:
        self._runs, self._started = runs, time.perf_counter()
        self._at_first = self._left()

    def told(self) -> str:
        """Return what is left, in words."""
        left = self._left()
        if not left:
            return f"Runs to go: {sum(not run.finished for run in self._runs)}."
        done, elapsed = self._at_first - left, (time.perf_counter() - self._started) / 60
        if done <= 0:
            return f"{_duration(left)} of training to go in all, and recording and planning besides."
        return f"About {_duration(left * elapsed / done)} to go in all, as it went so far."

    def _left(self) -> float:
        return sum(run.minutes_left for run in self._runs)


def _duration(minutes: float) -> str:
    return f"{math.ceil(minutes)} min" if minutes < 120 else f"{minutes / 60:,.1f} h"


def _row(task: str, runs: list[Run], out: Path) -> BenchmarkRow:
    together = pool([run.report() for run in runs])
    together.write(out / task / "pool.json")
    seconds = [run.position.seconds for run in runs if run.position]
    return BenchmarkRow(
        task=task,
        minutes=sum(seconds) / len(seconds) / 60,
        pool=together,
        failures=tuple(run.failures(out) for run in runs),
    )


def _print(table: BenchmarkTable, out: Path, console: Console) -> None:
    for row in table.rows:  # one below the other: side by side, the columns do not fit a terminal
        shown = Table(title=row.task, title_justify="left", show_header=False)
        for name, cell in zip(HEAD[1:], row.cells()[1:], strict=True):
            shown.add_row(name, cell)
        console.print(shown)
        for failed in row.failures:
            if failed.videos:
                what = f"{row.task}, seed {failed.seed}: {len(failed.videos)} failures"
                console.print(f"{what}, in {out / failed.folder}/trial-*-missed.mp4", soft_wrap=True)
    console.print(table.caption())
