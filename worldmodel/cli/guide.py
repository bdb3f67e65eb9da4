"""`worldmodel guide`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from worldmodel.cli.progress import bar
from worldmodel.datasets.reader import Recording
from worldmodel.evaluation.evaluate import as_seen_by, check_finished
from worldmodel.training.checkpoint import load_model
from worldmodel.training.device import choose_compute
from worldmodel.training.guides import GuideConfig, train_guides


@dataclass(frozen=True)
class Command:
    """Train what guides a planner: a network that proposes plans, and one that tells how far a goal is.

    `worldmodel plan --planner proposal` and `--cost.steps` use them.

    Attributes:
        run_folder: folder of a trained run; the networks are kept in it.
        recording: folder of the recording that it was trained on.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    recording: Annotated[Path, tyro.conf.Positional]
    config: Annotated[GuideConfig, tyro.conf.arg(name="")] = field(default_factory=GuideConfig)
    device: str = "auto"

    def run(self) -> None:
        compute = choose_compute(self.device)
        model = load_model(self.run_folder, compute.device)
        check_finished(self.run_folder)
        with Recording.open(self.recording) as recording, bar("Learning to guide", self.config.steps) as shown:
            report = train_guides(
                self.config,
                model=model,
                recording=as_seen_by(model, recording),
                run=self.run_folder,
                compute=compute,
                progress=lambda done, steps: shown.update(done, steps),
            )
        console = Console(highlight=False)
        console.print(
            f"Proposed actions: mean squared error {report.proposal:.3f} of half the range squared, on held-out "
            f"episodes (the mean action: {report.proposal_mean:.3f})."
        )
        console.print(
            f"Distance: wrong by {report.distance:.1f} frames on average (the median distance: "
            f"{report.distance_mean:.1f})."
        )
