"""What to train and for how long: the configuration of a run, and what the model is tied to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from worldmodel.config import from_json
from worldmodel.datasets.reader import Recording
from worldmodel.errors import CheckpointError, WorldModelError
from worldmodel.models.interface import Interface
from worldmodel.models.world_model import WorldModelConfig
from worldmodel.objectives.masked_future import MaskedFutureConfig
from worldmodel.objectives.registry import ObjectiveConfig
from worldmodel.training.optimiser import OptimiserConfig
from worldmodel.training.stage import StageConfig

CONFIG = "config.json"


@dataclass(frozen=True)
class TrainConfig:
    """What to train, and for how long.

    Attributes:
        objective: what the encoder learns by.
        cameras: names of those whose views, side by side, make a frame, the leftmost first; none takes the
            recording's main camera.
        dynamics: how the predictor learns, where the objective trains none; None takes the defaults.
        see: encoder, from frames, and what the objective trains with it.
        tune: encoder and predictor together, by `dynamics`, after an objective that trains no predictor; None
            leaves the encoder as the objective made it.
        forecast: the predictor alone, on the latents of the frozen encoder.
        guide: proposer, temporal distance, reward and disagreement, on the same, from pairs of frames within
            `guide.length` frames.
        draw: the decoder alone, on the same.
        minutes: wall-clock time for all stages, min, which they share by their `share`, each with its whole schedule;
            None takes as many steps as they say.
        whiten_floor: when the encoder has learned, the latents are whitened; variances below this share of the
            largest are taken for noise.
        reach_weight: when the predictor learns alone, the weight of errors in what the robot moves itself, in actions.
        certainty_floor: when the predictor has learned, distances are weighed by how certain it is; variances of its
            errors below this share of the largest are raised towards it.
        held_out: share of the episodes that is not trained on: validation and goals come from them.
        log_every: steps between two entries in the log.
        save_every: steps between two checkpoints.
        seed: decides first weights, split, batches and masks.
    """

    model: WorldModelConfig = field(default_factory=WorldModelConfig)
    objective: ObjectiveConfig = field(default_factory=MaskedFutureConfig)
    cameras: tuple[str, ...] = ()
    dynamics: MaskedFutureConfig | None = None
    see: StageConfig = field(
        default_factory=lambda: StageConfig(steps=1500, batch=64, length=5, share=0.45, optimiser=OptimiserConfig(2e-3))
    )
    tune: StageConfig | None = None
    forecast: StageConfig = field(
        default_factory=lambda: StageConfig(steps=4000, batch=128, length=8, share=0.3, optimiser=OptimiserConfig(2e-3))
    )
    guide: StageConfig = field(
        default_factory=lambda: StageConfig(
            steps=5000, batch=512, length=26, share=0.2, optimiser=OptimiserConfig(1e-3)
        )
    )
    draw: StageConfig = field(
        default_factory=lambda: StageConfig(steps=800, batch=8, length=5, share=0.05, optimiser=OptimiserConfig(3e-3))
    )
    minutes: float | None = None
    whiten_floor: float = 0.0001
    reach_weight: float = 0.15
    certainty_floor: float = 0.01
    held_out: float = 0.1
    log_every: int = 100
    save_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise WorldModelError(f"held_out is {self.held_out}; expected a share between 0 and 1, such as 0.1.")
        if not 0 <= self.seed < 2**63:
            raise WorldModelError(f"seed is {self.seed}; expected 0 to 2^63 - 1.")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise WorldModelError(f"minutes is {self.minutes}; expected more than 0.")
        if self.forecast.length != self.model.predictor.positions:
            raise WorldModelError(
                f"forecast.length is {self.forecast.length} and model.predictor.positions is "
                f"{self.model.predictor.positions}; expected the same, so that every position is trained. Set both."
            )
        learning = {"forecast": self.forecast.length}
        if isinstance(self.objective, MaskedFutureConfig):
            learning["see"] = self.see.length
        elif self.tune:
            learning["tune"] = self.tune.length
        for stage, length in learning.items():
            if self.model.predictor.visible >= length:
                raise WorldModelError(
                    f"model.predictor.visible is {self.model.predictor.visible} and {stage}.length {length}; expected "
                    "fewer, so that something is masked."
                )
        for name in ("whiten_floor", "reach_weight", "certainty_floor"):
            if not 0 <= getattr(self, name) < math.inf:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected 0 or more.")
        for name in ("log_every", "save_every"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if isinstance(self.objective, MaskedFutureConfig):
            for name in ("dynamics", "tune"):
                if getattr(self, name) is not None:
                    raise WorldModelError(
                        f"{name} is set, but the objective is masked-future, which trains the predictor itself. "
                        f"Leave {name} out."
                    )

    @property
    def masking(self) -> MaskedFutureConfig:
        """How the predictor learns."""
        return (
            self.objective if isinstance(self.objective, MaskedFutureConfig) else self.dynamics or MaskedFutureConfig()
        )


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
    """Return what a model trained on `recording`, as it was seen and felt, can be used with."""
    provenance = recording.provenance
    height, width, _ = recording.frame_shape
    return Interface(
        env=provenance.env,
        cameras=recording.cameras,
        height=height,
        width=width,
        quality=provenance.simulation.quality if provenance.simulation else "fast",
        steps_per_frame=provenance.steps_per_frame,
        control_seconds=provenance.control_seconds,
        low=provenance.low,
        high=provenance.high,
        recording=recording.fingerprint,
        env_arguments=provenance.env_arguments,
        proprioception=recording.proprioception.size,
    )
