"""Train a world model on a recording, in stages, and lose nothing on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from worldmodel.config import from_json, to_json
from worldmodel.datasets.clips import Clips
from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.errors import CheckpointError, WorldModelError
from worldmodel.interrupts import signals_held
from worldmodel.models.interface import Interface
from worldmodel.models.world_model import WorldModel, WorldModelConfig
from worldmodel.objectives.masked_future import MaskedFuture, MaskedFutureConfig
from worldmodel.training.checkpoint import (
    Position,
    has_checkpoint,
    load_tensors,
    load_weights,
    newest,
    read_card,
    save_checkpoint,
)
from worldmodel.training.device import Compute
from worldmodel.training.log import RunLog
from worldmodel.training.optimiser import Optimiser, OptimiserConfig
from worldmodel.training.stages import DrawStage, ForecastStage, SeeStage, Stage, StageConfig, Step
from worldmodel.training.validation import Validation

CONFIG = "config.json"


@dataclass(frozen=True)
class TrainConfig:
    """What to train, and for how long.

    Attributes:
        see: encoder and predictor together, from frames.
        forecast: the predictor alone, on the latents of the frozen encoder.
        draw: the decoder alone, on the same.
        whiten_floor: after `see` the latents are whitened; variances below this share of the largest are
            taken for noise.
        held_out: share of the episodes that is not trained on: validation and goals come from them.
        log_every: steps between two entries in the log.
        save_every: steps between two checkpoints.
        seed: decides first weights, split, batches and masks.
    """

    model: WorldModelConfig = field(default_factory=WorldModelConfig)
    objective: MaskedFutureConfig = field(default_factory=MaskedFutureConfig)
    see: StageConfig = field(default_factory=lambda: StageConfig(steps=1500, batch=64, length=5))
    forecast: StageConfig = field(
        default_factory=lambda: StageConfig(steps=4000, batch=128, length=8, optimiser=OptimiserConfig(2e-3))
    )
    draw: StageConfig = field(
        default_factory=lambda: StageConfig(steps=800, batch=8, length=5, optimiser=OptimiserConfig(3e-3))
    )
    whiten_floor: float = 0.0001
    held_out: float = 0.1
    log_every: int = 100
    save_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise WorldModelError(f"held_out is {self.held_out}; expected a share between 0 and 1, such as 0.1.")
        if self.seed < 0:
            raise WorldModelError(f"seed is {self.seed}; expected 0 or more.")
        if self.see.length < 3:
            raise WorldModelError(f"see.length is {self.see.length}; expected at least 3, for inverse dynamics.")
        if self.forecast.length != self.model.predictor.positions:
            raise WorldModelError(
                f"forecast.length is {self.forecast.length} and model.predictor.positions is "
                f"{self.model.predictor.positions}; expected the same, so that every position is trained. Set both."
            )
        for name in ("log_every", "save_every"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least 1.")


class Progress(Protocol):
    """Is told of every step: which stage, how many of its steps are done, and the last logged numbers."""

    def __call__(self, stage: str, done: int, steps: int, values: dict[str, float]) -> None: ...


class Trainer:
    """Trains one run.

    Args:
        recording: to learn from.
        run: folder for checkpoints, logs and the resolved configuration.
        compute: device and precision.
        resume: continue the run that the folder holds.

    Raises:
        CheckpointError: the folder holds a run already (without `resume`), or one of another configuration.
    """

    def __init__(
        self, config: TrainConfig, *, recording: Recording, run: Path, compute: Compute, resume: bool = False
    ) -> None:
        self.config, self.run, self.compute = config, run, compute
        self._check_folder(resume)
        training, held_out = split_episodes(recording.episodes, config.held_out, config.seed)
        torch.manual_seed(config.seed)
        self.model = WorldModel(config.model, interface=interface_of(recording)).to(compute.device)
        objective = MaskedFuture(config.objective, model=self.model)
        clips = Clips(recording, training, length=config.see.length)
        self._stages: list[Stage] = [
            SeeStage(config.see, objective, clips, compute, config.seed, config.whiten_floor),
            ForecastStage(config.forecast, objective, recording, training, compute),
            DrawStage(config.draw, clips, compute, config.seed),
        ]
        self._validation = Validation(
            Clips(recording, held_out, length=config.forecast.length), config.objective.visible
        )
        self._position = self._begin()

    def train(self, progress: Progress | None = None) -> WorldModel:
        """Train to the end, or from where the run stopped to the end; return the model, ready to use.

        Whatever interrupts it, the last checkpoint stays; Ctrl-C saves one more first.
        """
        if self._position:
            load_weights(newest(self.run), self.model)
        names = [stage.name for stage in self._stages]
        current = names.index(self._position.stage) if self._position else 0
        done_before = sum(stage.config.steps for stage in self._stages[:current])
        log = RunLog(self.run, done_before + (self._position.step if self._position else 0))
        try:
            for stage in self._stages[current:]:
                self._train_stage(stage, done_before, log, progress)
                done_before += stage.config.steps
            log.picture(done_before, "valid/rollout", self._validation.strip(self.model, self.compute))
        finally:
            log.close()
        return self.model.eval()

    @property
    def seconds(self) -> float:
        """Wall-clock time spent in training, over all resumptions, s."""
        return self._position.seconds if self._position else 0.0

    def _check_folder(self, resume: bool) -> None:
        path = self.run / CONFIG
        if path.exists():
            if not resume:
                raise CheckpointError(
                    f"'{self.run}' already holds a run. Continue it with --resume, or choose another --out."
                )
            if read_train_config(self.run) != self.config:
                raise CheckpointError(
                    f"'{self.run}' was begun with another configuration (see {path}). Resume with the same settings, "
                    "or choose another --out."
                )

    def _begin(self) -> Position | None:
        """Write the configuration, now that all else is known to fit; return where an earlier part stopped."""
        self.run.mkdir(parents=True, exist_ok=True)
        (self.run / CONFIG).write_text(to_json(self.config), encoding="utf-8")
        if not has_checkpoint(self.run):
            return None
        card = read_card(newest(self.run))
        if card.interface != self.model.interface:
            raise CheckpointError(
                f"'{self.run}' was trained on another recording, of {card.interface.env}: its fingerprint is "
                f"{card.interface.recording[:12]}, this one's {self.model.interface.recording[:12]}. Resume with the "
                "recording that it was begun with, as it was then."
            )
        return card.position

    def _train_stage(self, stage: Stage, done_before: int, log: RunLog, progress: Progress | None) -> None:
        modules = stage.modules(self.model)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in modules)
        named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        optimiser = Optimiser(stage.config.optimiser, named, stage.config.steps)
        first = 0
        if self._position and self._position.stage == stage.name:
            first = self._position.step
            if first:
                optimiser.load(load_tensors(newest(self.run) / "optimiser.safetensors"))
        self.model.train()
        values: dict[str, float] = {}
        before, started = self.seconds, time.perf_counter()
        frames = stage.config.batch * stage.config.length
        losses = stage.losses(self.model, first)
        done = first
        try:
            while done < stage.config.steps:
                waited = time.perf_counter()
                compute_loss = next(losses)
                waited = time.perf_counter() - waited
                with signals_held():  # a checkpoint holds whole steps only
                    logs, norm = self._step(compute_loss, optimiser, stage, done)
                    if done + 1 == stage.config.steps:
                        stage.finish(self.model)
                    done += 1  # last: a stage that fails while it finishes is not taken for finished
                if done % self.config.log_every == 0 or done == stage.config.steps:
                    values = {f"train/{name}": value.item() for name, value in logs.items()}
                    values |= self._validation.measure(self.model, self.compute)
                    rate = frames * (done - first) / (time.perf_counter() - started)
                    values |= {
                        "train/gradient_norm": norm.item(),
                        "train/learning_rate": optimiser.learning_rate(done - 1),
                        "speed/frames_per_second": rate,
                        "speed/data_wait_seconds": waited,
                    }
                    log.scalars(done_before + done, values)
                if done % self.config.save_every == 0 or done == stage.config.steps:
                    self._save(stage, done, done_before, before + time.perf_counter() - started, optimiser)
                if progress:
                    progress(stage.name, done, stage.config.steps, values)
        except KeyboardInterrupt:
            self._save(stage, done, done_before, before + time.perf_counter() - started, optimiser)
            raise

    def _step(
        self, compute_loss: Callable[[torch.Generator], Step], optimiser: Optimiser, stage: Stage, number: int
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Take one step; its random draws depend on seed, stage and number alone."""
        entropy = np.random.SeedSequence([self.config.seed, self._stages.index(stage), number]).generate_state(
            2, np.uint32
        )
        seed = int(entropy[0]) << 31 | int(entropy[1]) >> 1
        torch.manual_seed(seed)  # dropout draws from PyTorch's own generator
        generator = torch.Generator(self.compute.device).manual_seed(seed)
        with self.compute.autocast():
            step = compute_loss(generator)
        return step.logs, optimiser.step(step.loss, number)

    def _save(self, stage: Stage, done: int, done_before: int, seconds: float, optimiser: Optimiser) -> None:
        self._position = Position(stage.name, done, seconds)
        save_checkpoint(self.run, done_before + done, self.model, optimiser.state(), self._position)


def read_train_config(run: Path) -> TrainConfig:
    """Read the configuration that a run was trained with."""
    path = run / CONFIG
    try:
        return from_json(TrainConfig, path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' is missing or damaged ({error}). Expected the folder of a trained run."
        ) from error


def interface_of(recording: Recording) -> Interface:
    """Return what a model trained on `recording` can be used with."""
    provenance = recording.provenance
    return Interface(
        env=provenance.env,
        camera=provenance.camera,
        height=provenance.height,
        width=provenance.width,
        quality=provenance.simulation.quality if provenance.simulation else "fast",
        steps_per_frame=provenance.steps_per_frame,
        control_seconds=provenance.control_seconds,
        low=provenance.low,
        high=provenance.high,
        recording=recording.fingerprint,
    )
