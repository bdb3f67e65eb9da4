"""The loop of one stage: step, log, validate, save, until it is done or asked to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.interrupts import signals_held
from worldmodel.models.world_model import WorldModel
from worldmodel.training.checkpoint import Position, load_training, newest, save_checkpoint
from worldmodel.training.clock import Clock, Limit
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.gradients import Gradients
from worldmodel.training.learner import Learner
from worldmodel.training.log import RunLog
from worldmodel.training.processes import Processes
from worldmodel.training.speed import SpeedMeter
from worldmodel.training.stage import ComputeLoss, Stage
from worldmodel.training.validation import Validation


class Progress(Protocol):
    """Is told of every step: which stage, how many of its steps are done, and the last logged numbers."""

    def __call__(self, stage: str, done: int, steps: int, values: dict[str, float]) -> None: ...


@dataclass(frozen=True)
class Place:
    """Where and with what a run trains.

    Attributes:
        run: folder of the run.
        log: where numbers go; None in all processes but the first.
    """

    run: Path
    compute: Compute
    processes: Processes
    log: RunLog | None


class StageLoop:
    """Trains one stage from where it stands to its end.

    Args:
        index: number of the stage in the run; with the seed and the step it decides the step's random draws.
        start: where training stands: in this stage, or at the end of the one before.
        limit: where the stage ends.
        last: whether it is the run's last stage.
    """

    def __init__(
        self,
        config: TrainConfig,
        stage: Stage,
        *,
        index: int,
        model: WorldModel,
        place: Place,
        validation: Validation,
        start: Position,
        limit: Limit,
        last: bool,
    ) -> None:
        self._config, self._stage, self._index = config, stage, index
        self._model, self._place, self._validation = model, place, validation
        self._limit, self._last = limit, last
        self._learner = Learner(stage, model)
        if start.stage != stage.name:
            start = Position(stage.name, 0, 0.0, start.total, 0.0, start.seconds)
        if start.step:
            self._learner.load(load_training(newest(place.run)))
        else:
            stage.begin(model)
        self._start, self._clock = start, Clock(start.stage_seconds)
        self._step, self._progress = start.step, start.progress
        self._saved: int | None = None  # the last step that a checkpoint was made after
        self._gradients = Gradients(stage, model, compute=place.compute, processes=place.processes)
        self._speed = SpeedMeter(stage.frames, place.compute, self._gradients.unlike)

    @property
    def position(self) -> Position:
        """Where training stands now."""
        start, seconds = self._start, self._clock.seconds
        return replace(
            start,
            step=self._step,
            progress=self._progress,
            total=start.total - start.step + self._step,
            stage_seconds=seconds,
            seconds=start.seconds - start.stage_seconds + seconds,
            finished=self._last and self._progress >= 1,
        )

    def run(self, progress: Progress | None) -> Position:
        """Train to the end of the stage; return where training stands then.

        Raises:
            KeyboardInterrupt: asked to stop, by Ctrl-C or SIGTERM. The last whole step is saved.
            WorldModelError: training diverged, or the latents collapsed. The last checkpoint is kept.
        """
        self._model.train()
        losses = self._stage.losses(self._model, self._step)
        values: dict[str, float] = {}
        try:
            with self._place.processes.leaving_together() as asked_to_leave:
                while self._progress < 1:
                    with self._speed.waiting():
                        parts = next(losses)
                    logs, norm, rate = self._take_step(parts)
                    ends = self._progress >= 1
                    if self._step % self._config.log_every == 0 or ends:
                        values = self._report(logs, norm, rate)
                    if self._step % self._config.save_every == 0 or ends:
                        self._save()
                    if progress:
                        expected = self._limit.expected_steps(self._step, self._progress)
                        progress(self._stage.name, self._step, expected, values)
                    if asked_to_leave():
                        raise KeyboardInterrupt
        except KeyboardInterrupt:
            with signals_held():  # torchrun sends SIGTERM after the terminal's Ctrl-C
                self._save()
            raise
        return self.position

    def _take_step(self, parts: Sequence[ComputeLoss]) -> tuple[dict[str, Tensor], Tensor, float]:
        """Take one step, whole: Ctrl-C waits, since a checkpoint holds whole steps only.

        Return its logs, the gradient's norm and the learning rate.
        """
        with signals_held():
            rate = self._learner.optimiser.learning_rate(self._step, self._progress)
            with self._speed.step():
                logs, losses = self._gradients.add_up(parts, self._seed())
                norm = self._learner.optimiser.clip()
                self._check(losses, norm)
                self._learner.step(self._step, self._progress)
            progress = self._limit.progress(self._step + 1, self._clock.seconds)
            progress = self._place.processes.first(progress)
            self._stage.after_step(self._model, progress)
            if progress >= 1:
                self._gradients.let_go()
                self._learner.finish()
                self._stage.finish(self._model)
            # last: a stage that fails while it finishes is not taken for finished
            self._step, self._progress = self._step + 1, progress
        return logs, norm, rate

    def _seed(self) -> int:
        """Return the seed of the step's random draws; it depends on the run's seed, stage and step alone."""
        entropy = np.random.SeedSequence([self._config.seed, self._index, self._step]).generate_state(2, np.uint32)
        return int(entropy[0]) << 31 | int(entropy[1]) >> 1

    def _check(self, losses: list[Tensor], norm: Tensor) -> None:
        """Refuse a step that is not finite, before anything follows it. All is read at once, for which a GPU must wait.

        Raises:
            WorldModelError: a loss, or the gradient's norm, is not finite, in this process or in another.
        """
        *told, length = torch.stack([*losses, norm]).tolist()
        if self._place.processes.all(math.isfinite(length) and all(map(math.isfinite, told))):
            return
        loss = next((value for value in told if not math.isfinite(value)), None)
        what = f"the gradient's norm is {length:.4g}" if loss is None else f"the loss is {loss:.4g}"
        raise WorldModelError(
            f"Training diverged at step {self._step} of '{self._stage.name}': {what}; expected a finite number. The "
            f"last checkpoint is kept. Train with {self._stage.config.optimiser.gentler}."
        )

    def _report(self, logs: dict[str, Tensor], norm: Tensor, rate: float) -> dict[str, float]:
        """Log what the last step gave and what validation finds; return it by tag."""
        place, total = self._place, self.position.total
        values = place.processes.mean({f"train/{name}": value.item() for name, value in logs.items()})
        values["train/gradient_norm"] = norm.item()
        values["train/learning_rate"] = rate
        values |= self._speed.values()
        found = self._validation.measure(self._model, place.compute)
        if place.log:
            values |= found.scalars()
            place.log.entry(total, values, {"latent/spectrum": found.spectrum})
        if self._progress < 1:
            self._stage.check(self._model, self._step, self._progress)
        self._speed.restart()  # validation is no part of a step
        return values

    def _save(self) -> None:
        """Save where training stands, once; the pictures of a run come before it counts as finished."""
        place, position = self._place, self.position
        with signals_held():
            if place.log and self._saved != self._step:
                if position.finished:
                    self._picture(place.log, position.total)
                save_checkpoint(place.run, self._model, self._learner.state(), position, bf16=place.compute.bf16)
            self._saved = self._step
        self._speed.restart()

    def _picture(self, log: RunLog, total: int) -> None:
        """Log what the whole run has come to: a forecast as it is drawn, and the latents."""
        compute = self._place.compute
        log.picture(total, "valid/rollout", self._validation.strip(self._model, compute))
        log.embedding(total, "latent/embedding", *self._validation.embedded(self._model, compute))
