"""Objectives by name."""

from __future__ import annotations

from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.masked_future import MaskedFuture, MaskedFutureConfig
from worldmodel.objectives.objective import Objective

ObjectiveConfig = MaskedFutureConfig


def make_objective(config: ObjectiveConfig, *, model: WorldModel) -> Objective:
    """Make the objective that `config` configures."""
    return MaskedFuture(config, model=model)
