"""`worldmodel train`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from worldmodel.cli.progress import Bar, bar
from worldmodel.datasets.reader import Recording
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import choose_compute
from worldmodel.training.presets import train_config
from worldmodel.training.processes import joined
from worldmodel.training.trainer import Trainer

STAGES = {
    "see": "Learning to see",
    "tune": "Fine-tuning",
    "forecast": "Learning to forecast",
    "guide": "Learning to guide plans",
    "draw": "Learning to draw",
}


@dataclass(frozen=True)
class Command:
    """Train a world model on a recording; where the run folder holds a run, continue it.

    Started by torchrun, processes on as many GPUs or machines train together.

    Attributes:
        recording: folder of the recording.
        out: folder for checkpoints, logs and the resolved configuration.
        preset: size of the model: "tiny", "small" or "base".
        encoder: "conv" or "vit", with its options --model.encoder.*; the preset's own when left out.
        objective: what the encoder learns by; its options are --objective.*.
        fine_tune: after an objective other than masked-future, train encoder and predictor together.
        device: "auto" takes CUDA where there is one, else the CPU.
        compile: let PyTorch compile the networks first, which takes a minute or more and a compiler on this machine.
        replay: let a GPU that trains alone keep the frames where it has room, and ask it for all the work of a step at
            once; with --no-replay, for each operation by itself, which takes small models several times as long.
        resume: continue the run that the folder holds; with --no-resume, such a folder is refused.
    """

    recording: Annotated[Path, tyro.conf.Positional]
    out: Path = Path("runs/reacher")
    preset: str = "tiny"
    encoder: str = ""
    objective: str = "masked-future"
    fine_tune: bool = False
    config: Annotated[tyro.conf.AvoidSubcommands[TrainConfig], tyro.conf.arg(name="")] = field(
        default_factory=train_config
    )
    device: str = "auto"
    compile: bool = False
    replay: bool = True
    resume: bool = True

    def run(self) -> None:
        with Recording.open(self.recording) as recording:
            train_with_bars(
                self.config,
                recording,
                self.out,
                self.device,
                compiled=self.compile,
                replays=self.replay,
                resume=self.resume,
            )
        if int(os.environ.get("RANK", "0")) == 0:
            Console().print(f"Trained: {self.out}  (tensorboard --logdir {self.out / 'tensorboard'})")


def defaults(arguments: Sequence[str]) -> Command:
    """Return the command with the options' defaults, which preset and objective decide."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", default=Command.preset)
    parser.add_argument("--encoder", default=Command.encoder)
    parser.add_argument("--objective", default=Command.objective)
    parser.add_argument("--fine-tune", "--fine_tune", action=argparse.BooleanOptionalAction, default=False)
    chosen, _ = parser.parse_known_args(arguments)
    config = train_config(chosen.preset, chosen.objective, encoder=chosen.encoder, fine_tune=chosen.fine_tune)
    return Command(tyro.MISSING, config=config)


def train_with_bars(
    config: TrainConfig,
    recording: Recording,
    out: Path,
    device: str,
    *,
    compiled: bool = False,
    replays: bool = True,
    resume: bool = True,
) -> Trainer:
    """Train, with a progress bar for each stage; under torchrun, together with the other processes."""
    with joined(device) as processes:
        compute = replace(choose_compute(device), compiled=compiled, replays=replays)
        # timings are noisy, and all must compute alike
        compute = compute.in_precision(bool(processes.first(float(compute.bf16))))
        trainer = Trainer(config, recording=recording, run=out, compute=compute, resume=resume, processes=processes)
        if not processes.leads:
            trainer.train()
            return trainer
        console = Console(stderr=True, highlight=False)
        together = f", in {processes.count} processes" if processes.count > 1 else ""
        console.print(f"Training on {trainer.compute}{together}.")
        if trainer.seconds:
            console.print(f"Continuing the run in {out}, after {trainer.seconds:,.0f} s.")
        with bar(STAGES["see"]) as shown:
            trainer.train(lambda stage, done, total, values: _show(shown, stage, done, total, values))
    return trainer


def _show(shown: Bar, stage: str, done: int, total: int, values: dict[str, float]) -> None:
    parts = {"error": "valid/error_1", "frames/s": "speed/frames_per_second"}
    text = ", ".join(f"{name} {values[tag]:,.3g}" for name, tag in parts.items() if tag in values)
    shown.progress.update(shown.task, description=STAGES[stage])
    shown.update(done, total, text)
