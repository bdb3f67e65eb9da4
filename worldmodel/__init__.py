"""Record video of MuJoCo worlds, learn their physics by forecasting masked future frames, plan with what was learned.

    from worldmodel import RecordConfig, record

The public names below are imported when they are first used, so that `import worldmodel` is quick and a
recording worker never loads PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium

from worldmodel.tasks import TASKS

if TYPE_CHECKING:
    from worldmodel.datasets.clips import Clips
    from worldmodel.datasets.reader import Recording
    from worldmodel.datasets.recorder import RecordConfig, record
    from worldmodel.envs.registry import make_task, make_world
    from worldmodel.errors import WorldModelError
    from worldmodel.evaluation.evaluate import EvaluationConfig, evaluate
    from worldmodel.evaluation.measure import MeasureConfig, measure
    from worldmodel.evaluation.probe import ProbeConfig, probe
    from worldmodel.models.world_model import WorldModel, WorldModelConfig
    from worldmodel.planning.agent import Agent
    from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
    from worldmodel.planning.world_env import WorldEnv
    from worldmodel.training.checkpoint import load_model
    from worldmodel.training.config import TrainConfig
    from worldmodel.training.device import choose_compute
    from worldmodel.training.trainer import Trainer

_HOMES = {
    "Agent": "planning.agent",
    "Clips": "datasets.clips",
    "EvaluationConfig": "evaluation.evaluate",
    "MeasureConfig": "evaluation.measure",
    "PlanningConfig": "planning.policy",
    "PlanningPolicy": "planning.policy",
    "ProbeConfig": "evaluation.probe",
    "RecordConfig": "datasets.recorder",
    "Recording": "datasets.reader",
    "TrainConfig": "training.config",
    "Trainer": "training.trainer",
    "WorldEnv": "planning.world_env",
    "WorldModel": "models.world_model",
    "WorldModelConfig": "models.world_model",
    "WorldModelError": "errors",
    "choose_compute": "training.device",
    "evaluate": "evaluation.evaluate",
    "load_model": "training.checkpoint",
    "make_task": "envs.registry",
    "make_world": "envs.registry",
    "measure": "evaluation.measure",
    "probe": "evaluation.probe",
    "record": "datasets.recorder",
}

__all__ = [
    "Agent",
    "Clips",
    "EvaluationConfig",
    "MeasureConfig",
    "PlanningConfig",
    "PlanningPolicy",
    "ProbeConfig",
    "RecordConfig",
    "Recording",
    "TrainConfig",
    "Trainer",
    "WorldEnv",
    "WorldModel",
    "WorldModelConfig",
    "WorldModelError",
    "choose_compute",
    "evaluate",
    "load_model",
    "make_task",
    "make_world",
    "measure",
    "probe",
    "record",
]

for _name in TASKS:
    gymnasium.register(id=_name, entry_point="worldmodel.envs.goal_env:GoalEnv", kwargs={"task": _name})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'worldmodel' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"worldmodel.{_HOMES[name]}"), name)
