"""Every objective by its name."""

from __future__ import annotations

from collections.abc import Callable

from worldmodel.errors import WorldModelError, unknown_name
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.byol import BYOL, BYOLConfig
from worldmodel.objectives.mae import MAE, MAEConfig, VideoMAE, VideoMAEConfig
from worldmodel.objectives.masked_future import MaskedFuture, MaskedFutureConfig
from worldmodel.objectives.moco import MoCo, MoCoConfig
from worldmodel.objectives.objective import Objective
from worldmodel.objectives.rotation import Rotation, RotationConfig
from worldmodel.objectives.simclr import SimCLR, SimCLRConfig
from worldmodel.objectives.vicreg import VICReg, VICRegConfig

ObjectiveConfig = (
    MaskedFutureConfig
    | SimCLRConfig
    | MoCoConfig
    | MAEConfig
    | VideoMAEConfig
    | BYOLConfig
    | VICRegConfig
    | RotationConfig
)

OBJECTIVES: dict[str, tuple[type[ObjectiveConfig], Callable[..., Objective]]] = {
    "masked-future": (MaskedFutureConfig, MaskedFuture),
    "simclr": (SimCLRConfig, SimCLR),
    "moco": (MoCoConfig, MoCo),
    "mae": (MAEConfig, MAE),
    "video-mae": (VideoMAEConfig, VideoMAE),
    "byol": (BYOLConfig, BYOL),
    "vicreg": (VICRegConfig, VICReg),
    "rotation": (RotationConfig, Rotation),
}


def objective_config(name: str) -> ObjectiveConfig:
    """Return the defaults of the objective called `name`.

    Raises:
        WorldModelError: no such objective; lists those there are.
    """
    if name not in OBJECTIVES:
        raise unknown_name("objective", name, OBJECTIVES)
    return OBJECTIVES[name][0]()


def objective_name(config: ObjectiveConfig) -> str:
    """Return the name of the objective that `config` configures."""
    for name, (kind, _) in OBJECTIVES.items():
        if type(config) is kind:
            return name
    raise WorldModelError(f"{type(config).__name__} configures no objective. Valid: {', '.join(sorted(OBJECTIVES))}.")


def make_objective(config: ObjectiveConfig, *, model: WorldModel) -> Objective:
    """Return the objective that `config` configures, for `model`."""
    return OBJECTIVES[objective_name(config)][1](config, model=model)
