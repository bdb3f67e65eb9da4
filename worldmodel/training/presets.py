"""Whole configurations of training, by the size of the model and the objective."""

from __future__ import annotations

from dataclasses import replace

from worldmodel.models.encoders import encoder_config
from worldmodel.models.presets import preset
from worldmodel.objectives.masked_future import MaskedFutureConfig
from worldmodel.objectives.registry import objective_config
from worldmodel.training.config import TrainConfig
from worldmodel.training.optimiser import OptimiserConfig
from worldmodel.training.stage import StageConfig

LARGE_BATCH = 128  # of clips, for models that a GPU trains


def train_config(
    size: str = "tiny", objective: str = "masked-future", *, encoder: str = "", fine_tune: bool = False
) -> TrainConfig:
    """Return the configuration to start from.

    Args:
        size: "tiny" trains in minutes on two cores; "small" and "base" are for a GPU, with the learning rate and batch
            that transformers of their size are usually trained with (LeWorldModel; Maes et al., 2026), and were not
            trained to the end by us.
        objective: what the encoder learns by, a name in `OBJECTIVES`.
        encoder: a name in `ENCODERS`, with its defaults; the preset's own when left out.
        fine_tune: after an objective that trains no predictor, let encoder and predictor learn together by
            masked-future forecasting, for as long as the objective took; without `minutes`, which all stages share,
            this further stage comes on top of the budget.

    Raises:
        WorldModelError: unknown names; lists those there are.
    """
    learns_by = objective_config(objective)
    dynamics = None if isinstance(learns_by, MaskedFutureConfig) else MaskedFutureConfig()
    model = preset(size)
    if encoder:
        model = replace(model, encoder=encoder_config(encoder))
    config = TrainConfig(model=model, objective=learns_by, dynamics=dynamics)
    if size != "tiny":
        config = _for_a_gpu(config)
    if fine_tune:  # refused where the objective needs none
        config = replace(config, tune=replace(config.see))
    return config


def _for_a_gpu(config: TrainConfig) -> TrainConfig:
    objective, dynamics = config.objective, config.dynamics
    less = config.see.batch / LARGE_BATCH  # weight times batch stays what it is for `tiny`
    if isinstance(objective, MaskedFutureConfig):
        objective = replace(objective, anti_collapse_weight=objective.anti_collapse_weight * less)
    if dynamics:
        dynamics = replace(dynamics, anti_collapse_weight=dynamics.anti_collapse_weight * less)
    gently = OptimiserConfig(learning_rate=3e-4, warmup=1000)
    return replace(
        config,
        objective=objective,
        dynamics=dynamics,
        see=StageConfig(steps=30_000, batch=LARGE_BATCH, length=5, share=0.6, optimiser=gently),
        forecast=StageConfig(steps=30_000, batch=256, length=8, share=0.3, average=0.999, optimiser=gently),
        draw=StageConfig(steps=5_000, batch=32, length=5, share=0.1),
        save_every=1000,
    )
