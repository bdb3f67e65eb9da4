"""Record, learn, plan: the way from a world to a figure, which the demo and the benchmark go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from worldmodel.cli.plan import plan_with_bar
from worldmodel.cli.record import record_with_bar
from worldmodel.cli.train import train_with_bars
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import RecordConfig
from worldmodel.evaluation.evaluate import Evaluation, EvaluationConfig, choose_trials
from worldmodel.training.config import TrainConfig
from worldmodel.training.trainer import Trainer

RECORDING, MODEL, PLAN = "recording", "model", "plan"  # folders, of each stage


@dataclass(frozen=True)
class PipelineConfig:
    """The three stages."""

    record: RecordConfig = field(default_factory=RecordConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    plan: EvaluationConfig = field(default_factory=EvaluationConfig)

    def with_seed(self, seed: int) -> PipelineConfig:
        """Return the same with another seed in every stage."""
        return PipelineConfig(
            replace(self.record, seed=seed), replace(self.train, seed=seed), replace(self.plan, seed=seed)
        )


@dataclass(frozen=True)
class Made:
    """What the stages made.

    Attributes:
        recording: open.
        plan_seconds: wall-clock time of planning, its videos included, s.
    """

    recording: Recording
    trainer: Trainer
    evaluation: Evaluation
    plan_seconds: float


@contextmanager
def run_pipeline(config: PipelineConfig, out: Path, device: str) -> Iterator[Made]:
    """Record, learn and plan in folders inside `out`, going on where an earlier call stopped, and say what is done.

    Yields:
        What was made; its recording is closed after the block.
    """
    console = Console(highlight=False)
    console.print(f"[bold]1. Record[/] video of {config.record.env}")
    record_with_bar(config.record, out / RECORDING, resume=True)
    with Recording.open(out / RECORDING) as recording:
        choose_trials(config.plan, recording.seen_by(config.train.cameras), config.train)  # or tell before hours pass
        console.print("[bold]2. Learn[/] to forecast masked future frames")
        trainer = train_with_bars(config.train, recording, out / MODEL, device, resume=True)
        console.print(f"[bold]3. Plan[/] towards {config.plan.episodes} goal images from held-out episodes")
        started = time.perf_counter()
        evaluation = plan_with_bar(config.plan, out / MODEL, recording, out / PLAN, device)
        yield Made(recording, trainer, evaluation, time.perf_counter() - started)
