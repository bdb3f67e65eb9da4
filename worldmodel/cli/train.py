"""`worldmodel train`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from worldmodel.cli.progress import Bar, bar
from worldmodel.datasets.reader import Recording
from worldmodel.training.device import choose_compute
from worldmodel.training.trainer import TrainConfig, Trainer

STAGES = {"see": "Learning to see", "forecast": "Learning to forecast", "draw": "Learning to draw"}


@dataclass(frozen=True)
class Command:
    """Train a world model on a recording.

    Attributes:
        recording: folder of the recording.
        out: folder for checkpoints, logs and the resolved configuration.
        device: "auto" takes CUDA where there is one, else the CPU.
        resume: continue the run that the folder holds.
    """

    recording: Annotated[Path, tyro.conf.Positional]
    out: Path = Path("runs/reacher")
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    device: str = "auto"
    resume: bool = False

    def run(self) -> None:
        with Recording.open(self.recording) as recording:
            train_with_bars(self.config, recording, self.out, self.device, resume=self.resume)
        Console().print(f"Trained: {self.out}  (tensorboard --logdir {self.out / 'tensorboard'})")


def train_with_bars(config: TrainConfig, recording: Recording, out: Path, device: str, *, resume: bool) -> Trainer:
    """Train, with a progress bar for each stage."""
    compute = choose_compute(device)
    Console(stderr=True, highlight=False).print(f"Training on {compute}.")
    trainer = Trainer(config, recording=recording, run=out, compute=compute, resume=resume)
    steps = sum(stage.steps for stage in (config.see, config.forecast, config.draw))
    with bar(STAGES["see"], steps) as shown:
        trainer.train(lambda stage, done, total, values: _show(shown, stage, done, total, values))
    return trainer


def _show(shown: Bar, stage: str, done: int, total: int, values: dict[str, float]) -> None:
    parts = {"error": "valid/error_1", "frames/s": "speed/frames_per_second"}
    text = ", ".join(f"{name} {values[tag]:,.3g}" for name, tag in parts.items() if tag in values)
    shown.progress.update(shown.task, description=STAGES[stage])
    shown.update(done, total, text)
