"""`worldmodel compare`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from worldmodel.cli.kept import REPORT, is_made, one_process_only
from worldmodel.cli.measure import measure_with_bar
from worldmodel.cli.plan import plan_with_bar
from worldmodel.cli.probe import probe_with_bar
from worldmodel.cli.rank import print_ranking, text_table
from worldmodel.cli.train import train_with_bars
from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.comparison import ComparedRun, Comparison, compare
from worldmodel.evaluation.evaluate import ControlReport, EvaluationConfig, choose_trials
from worldmodel.evaluation.measure import MeasureConfig, MeasureReport
from worldmodel.evaluation.physical import has_states
from worldmodel.evaluation.probe import ProbeConfig, episodes_to_label
from worldmodel.evaluation.probes.report import ProbeReport
from worldmodel.evaluation.probes.tuning import TuneConfig
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.registry import OBJECTIVES, make_objective
from worldmodel.tasks import TASKS
from worldmodel.training.checkpoint import newest, read_card
from worldmodel.training.config import TrainConfig, interface_of
from worldmodel.training.presets import train_config


@dataclass(frozen=True)
class Command:
    """Train every objective on the same recording with the same budget, and tell what each has learned.

    What is finished is kept: the same command goes on where it stopped.

    Attributes:
        recording: folder of the recording.
        out: folder for the runs, named <objective>-<seed>, and for the table.
        objectives: which; all when left out.
        seeds: of training and evaluation, one run each.
        preset: size of the model.
        minutes: wall-clock time for each training, min; the preset's steps when left out.
        cameras: that every model sees with, side by side; the recording's main one when left out.
        proprioception: every model is also told what the robot feels.
        fine_tune: let encoder and predictor learn together after objectives that train no predictor. Without --minutes
            this is no longer the same budget: they get a further stage, as long as their first.
        device: "auto" takes CUDA where there is one, else the CPU.
    """

    recording: Annotated[Path, tyro.conf.Positional]
    out: Path = Path("runs/compare")
    objectives: tuple[str, ...] = tuple(OBJECTIVES)
    seeds: tuple[int, ...] = (0,)
    preset: str = "tiny"
    minutes: float | None = None
    cameras: tuple[str, ...] = ()
    proprioception: bool = False
    fine_tune: bool = False
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    probe: ProbeConfig = field(default_factory=lambda: ProbeConfig(seeds=3, controls=False, tune=TuneConfig(seeds=0)))
    plan: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(episodes=100))
    device: str = "auto"

    def run(self) -> None:
        if not self.objectives or not self.seeds:
            raise WorldModelError("Nothing to compare: expected at least one objective and one seed.")
        if len(set(self.seeds)) < len(self.seeds) or len(set(self.objectives)) < len(self.objectives):
            raise WorldModelError(
                f"objectives are {self.objectives} and seeds {self.seeds}; expected each once: a run counts once."
            )
        one_process_only("A comparison")
        console = Console(highlight=False)
        with Recording.open(self.recording) as recording:
            found = compare(list(self._runs(recording, console)))
        found.write(self.out)
        print_comparison(found, console)
        console.print(f"Tables: {self.out / 'comparison.md'}", soft_wrap=True)

    def _runs(self, recording: Recording, console: Console) -> Iterator[ComparedRun]:
        seen = recording.seen_by(self.cameras)
        interface = interface_of(seen.with_proprioception() if self.proprioception else seen)
        for name in self.objectives:  # what does not fit is told before the first training
            config = self._config(name, self.seeds[0])
            make_objective(config.objective, model=WorldModel(config.model, interface=interface))
        for seed in self.seeds if has_states([recording.episode(0)]) else ():
            held_out = self._config(self.objectives[0], seed).held_out
            training, _ = split_episodes(recording.episodes, held_out, seed)
            episodes_to_label(self.probe, recording, training)
        for seed in self.seeds if recording.provenance.env in TASKS else ():
            choose_trials(replace(self.plan, seed=seed), seen, self._config(self.objectives[0], seed))
        for seed in self.seeds:
            for name in self.objectives:
                run = self.out / f"{name}-{seed}"
                console.print(f"[bold]{name}[/], seed {seed}")
                train_with_bars(self._config(name, seed), recording, run, self.device)
                yield self._report(name, seed, run, recording)

    def _config(self, objective: str, seed: int) -> TrainConfig:
        config = train_config(self.preset, objective, fine_tune=self.fine_tune and objective != "masked-future")
        model = replace(config.model, proprioception=self.proprioception)
        return replace(config, model=model, cameras=self.cameras, seed=seed, minutes=self.minutes)

    def _report(self, name: str, seed: int, run: Path, recording: Recording) -> ComparedRun:
        """Make those reports that are not there yet."""
        measured, probed, controlled = (run / part / REPORT for part in ("measure", "probe", "plan"))
        if not is_made(measured, self.measure):
            measure_with_bar(self.measure, run, recording, measured.parent, self.device)
        states = has_states([recording.episode(0)])
        if states and not is_made(probed, self.probe):
            probe_with_bar(self.probe, run, recording, probed.parent, self.device)
        task = recording.provenance.env in TASKS
        plan = replace(self.plan, seed=seed)
        if task and not is_made(controlled, plan):
            plan_with_bar(plan, run, recording, controlled.parent, self.device)
        return ComparedRun(
            objective=name,
            seed=seed,
            minutes=read_card(newest(run)).position.seconds / 60,
            measure=MeasureReport.read(measured),
            probe=ProbeReport.read(probed) if states else None,
            control=ControlReport.read(controlled) if task else None,
        )


def print_comparison(found: Comparison, console: Console) -> None:
    """Print both tables, and how well each label-free metric orders the runs by their success."""
    console.print(text_table(found.env, found.achieved()))
    console.print(text_table("Without labels", found.measured()))
    if found.ranking:
        print_ranking(found.ranking, console)
