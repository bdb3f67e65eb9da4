"""Train a world model on a recording, in stages, and lose nothing on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worldmodel.config import to_json
from worldmodel.datasets.clips import Clips
from worldmodel.datasets.disk import lock, write_whole
from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.errors import CheckpointError, WorldModelError
from worldmodel.interrupts import sigterm_interrupts
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.objective import Objective
from worldmodel.objectives.registry import ObjectiveConfig, make_objective
from worldmodel.training.checkpoint import Card, Position, has_checkpoint, load_weights, newest, read_card
from worldmodel.training.clock import Limit
from worldmodel.training.config import CONFIG, TrainConfig, interface_of, read_train_config
from worldmodel.training.device import Compute
from worldmodel.training.draw import DrawStage
from worldmodel.training.forecast import ForecastStage
from worldmodel.training.guide import GuideStage
from worldmodel.training.log import RunLog
from worldmodel.training.loop import Place, Progress, StageLoop
from worldmodel.training.processes import Processes
from worldmodel.training.see import SeeStage
from worldmodel.training.stage import Stage, StageConfig
from worldmodel.training.validation import Validation


@dataclass(frozen=True)
class _Lessons:
    """What a run that is not finished learns from, frames included: its stages, and clips that tell how it goes."""

    stages: list[Stage]
    validation: Validation


class Trainer:
    """Trains one run. What it learns from is read for a run that is not finished, and kept until it is.

    Args:
        recording: to learn from.
        run: folder for checkpoints, logs and the resolved configuration.
        compute: device and precision; a run that is continued keeps the precision that it was begun in.
        resume: continue the run that the folder holds, if it holds one.
        processes: that train it together.

    Raises:
        CheckpointError: the folder holds a run already (without `resume`), or one of another configuration, or not the
            same one for all processes.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        recording: Recording,
        run: Path,
        compute: Compute,
        resume: bool = True,
        processes: Processes | None = None,
    ) -> None:
        self.config, self.run = config, run
        self._processes = processes or Processes()
        self._check_folder(resume)
        card = self._read_card()
        self.compute = compute = compute.in_precision(card.bf16) if card else compute
        recording = recording.seen_by(config.cameras)
        if config.model.proprioception:
            recording = recording.with_proprioception()
        training, held_out = split_episodes(recording.episodes, config.held_out, config.seed)
        torch.manual_seed(config.seed)
        self.model = WorldModel(config.model, interface=interface_of(recording)).to(compute.device)
        compute.prepare(self.model)
        finished = card is not None and card.position.finished
        self._lessons = None if finished else self._prepare(recording, training, held_out)
        self._position = self._begin(card)

    def train(self, progress: Progress | None = None) -> WorldModel:
        """Train to the end, or from where the run stopped to the end; return the model, ready to use.

        Whatever interrupts it, the last checkpoint stays; Ctrl-C and SIGTERM save one more first.
        """
        if self._lessons is None:
            load_weights(newest(self.run), self.model)
            return self.model.eval()
        with self._alone():
            return self._train(self._lessons, progress)

    def _train(self, lessons: _Lessons, progress: Progress | None) -> WorldModel:
        if self._position:
            load_weights(newest(self.run), self.model)
        names = [stage.name for stage in lessons.stages]
        current = names.index(self._position.stage) if self._position else 0
        log = RunLog(self.run, self._position.total if self._position else 0) if self._processes.leads else None
        place = Place(self.run, self.compute, self._processes, log)
        try:
            with sigterm_interrupts():
                for index in range(current, len(names)):
                    self._train_stage(lessons, index, place, progress)
        finally:
            if log:
                log.close()
        self._lessons = None
        return self.model.eval()

    @property
    def seconds(self) -> float:
        """Wall-clock time spent in training, over all resumptions, s."""
        return self._position.seconds if self._position else 0.0

    def _prepare(self, recording: Recording, training: NDArray[np.int64], held_out: NDArray[np.int64]) -> _Lessons:
        """Check that all fits, then read what is learned from."""
        if self.model.predictor.feel is not None:
            felt = torch.from_numpy(recording.felt_in(training))
            self.model.predictor.feel.fit(felt.to(self.compute.device))
        stages = self._make_stages(recording, training)
        # a few clips of many episodes, which are not kept
        clips = Clips(recording, held_out, length=self.config.forecast.length, in_memory=False)
        return _Lessons(stages, Validation(clips, self.model.most_visible))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have the run's folder to oneself.

        Raises:
            CheckpointError: another process trains in it, or has since this trainer was made.
        """
        if not self._processes.leads:
            yield
            return
        held = lock(self.run)
        if held is None:
            raise CheckpointError(
                f"'{self.run}' is being trained by another process. Wait for it, or choose another --out."
            )
        with held:
            saved = read_card(newest(self.run)).position.total if has_checkpoint(self.run) else 0
            if saved != (self._position.total if self._position else 0):
                raise CheckpointError(
                    f"Another process has gone on with '{self.run}' meanwhile. Start the same command again."
                )
            yield

    def _make_stages(self, recording: Recording, episodes: NDArray[np.int64]) -> list[Stage]:
        config, compute, processes = self.config, self.compute, self._processes
        seeing = [self._objective("see", config.see, config.objective)]
        if config.tune:
            seeing.append(self._objective("tune", config.tune, config.masking))
        clips = Clips(recording, episodes, length=config.see.length)  # read once, and not before all fits
        stages: list[Stage] = [
            SeeStage(
                stage,
                name=name,
                objective=objective.to(compute.device),
                clips=clips.of_length(stage.length),
                compute=compute,
                processes=processes,
                seed=config.seed,
                whiten_floor=config.whiten_floor if name == seeing[-1][0] else None,
            )
            for name, stage, objective in seeing
        ]
        stages.append(
            ForecastStage(
                config.forecast,
                masking=config.masking,
                recording=recording,
                episodes=episodes,
                compute=compute,
                processes=processes,
                reach_weight=config.reach_weight,
                certainty_floor=config.certainty_floor,
            )
        )
        stages.append(
            GuideStage(config.guide, recording=recording, episodes=episodes, compute=compute, processes=processes)
        )
        drawn = clips.of_length(config.draw.length)
        stages.append(DrawStage(config.draw, clips=drawn, compute=compute, processes=processes, seed=config.seed))
        for stage in stages:
            part = f" / accumulate ({stage.config.accumulate})" if stage.config.accumulate > 1 else ""
            processes.share(stage.config.batch // stage.config.accumulate, f"{stage.name}.batch{part}")
        return stages

    def _objective(self, name: str, stage: StageConfig, config: ObjectiveConfig) -> tuple[str, StageConfig, Objective]:
        """Return a stage's name, its configuration, and what it learns by.

        Raises:
            WorldModelError: its clips are too short for that.
        """
        objective = make_objective(config, model=self.model)
        if stage.length < objective.least_frames:
            raise WorldModelError(
                f"{name}.length is {stage.length}; this objective learns from clips of at least "
                f"{objective.least_frames} frames."
            )
        return name, stage, objective

    def _read_card(self) -> Card | None:
        """Return what the newest checkpoint says of itself, where there is one.

        Raises:
            CheckpointError: the processes do not all find the same.
        """
        card = read_card(newest(self.run)) if has_checkpoint(self.run) else None
        found = self._processes.each(card.position.total if card else -1)
        for rank, total in enumerate(found):
            if total != found[0]:
                first, other = (f"that of step {steps}" if steps >= 0 else "none" for steps in (found[0], total))
                raise CheckpointError(
                    f"The processes that train '{self.run}' find different checkpoints in it: process 0 finds {first}, "
                    f"process {rank} {other}; expected one folder for all of them. Put the run (--out) on storage that "
                    "all machines share."
                )
        return card

    def _check_folder(self, resume: bool) -> None:
        path = self.run / CONFIG
        if path.exists():
            if not resume:
                raise CheckpointError(
                    f"'{self.run}' already holds a run. Leave out --no-resume to continue it, or choose another --out."
                )
            if has_checkpoint(self.run) and read_train_config(self.run) != self.config:
                raise CheckpointError(
                    f"'{self.run}' was begun with another configuration (see {path}). Resume with the same settings, "
                    "or choose another --out."
                )

    def _begin(self, card: Card | None) -> Position | None:
        """Write the configuration, now that all else is known to fit; return where an earlier part stopped.

        Args:
            card: of the newest checkpoint, where there is one.
        """
        self._processes.wait()  # until all have looked into the folder
        if self._processes.leads:
            self.run.mkdir(parents=True, exist_ok=True)
            write_whole(self.run / CONFIG, to_json(self.config).encode())
        if card is None:
            return None
        if card.interface != self.model.interface:
            raise CheckpointError(
                f"'{self.run}' was trained on another recording, of {card.interface.env}: its fingerprint is "
                f"{card.interface.recording[:12]}, this one's {self.model.interface.recording[:12]}. Resume with the "
                "recording that it was begun with, as it was then."
            )
        return card.position

    def _train_stage(self, lessons: _Lessons, index: int, place: Place, progress: Progress | None) -> None:
        stage, last = lessons.stages[index], index + 1 == len(lessons.stages)
        start = self._position or Position(stage.name, 0, 0.0, 0, 0.0, 0.0)
        if start.stage == stage.name and start.progress >= 1:
            return
        loop = StageLoop(
            self.config,
            stage,
            index=index,
            model=self.model,
            place=place,
            validation=lessons.validation,
            start=start,
            limit=self._limit(lessons.stages, index),
            last=last,
        )
        try:
            self._position = loop.run(progress)
        except KeyboardInterrupt:
            self._position = loop.position
            raise

    def _limit(self, stages: list[Stage], index: int) -> Limit:
        """Return where a stage ends; of the time, it gets its share of what the stages before it have left."""
        minutes = self.config.minutes
        if minutes is None:
            return Limit(stages[index].config.steps)
        spent = (self._position.seconds if self._position else 0.0) - (
            self._position.stage_seconds if self._position and self._position.stage == stages[index].name else 0.0
        )
        shares = [stage.config.share for stage in stages[index:]]
        return Limit(stages[index].config.steps, max(1.0, 60 * minutes - spent) * shares[0] / sum(shares))
