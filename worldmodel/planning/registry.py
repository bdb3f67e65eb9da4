"""The planners by name, and their configurations together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from worldmodel.errors import unknown_name
from worldmodel.planning.cem import CEMConfig, CEMPlanner
from worldmodel.planning.gradient import CEMGradientConfig, CEMGradientPlanner, GradientConfig, GradientPlanner
from worldmodel.planning.icem import ICEMConfig, ICEMPlanner
from worldmodel.planning.mppi import MPPIConfig, MPPIPlanner
from worldmodel.planning.planner import Planner, PlanSpace
from worldmodel.planning.proposal import ProposalConfig, ProposalPlanner
from worldmodel.planning.random_shooting import RandomShootingConfig, RandomShootingPlanner

PlannerName = Literal["cem", "icem", "mppi", "random", "gradient", "cem-gradient", "proposal"]


@dataclass(frozen=True)
class PlannerConfigs:
    """One configuration for each planner; only that of the chosen one counts."""

    cem: CEMConfig = field(default_factory=CEMConfig)
    icem: ICEMConfig = field(default_factory=ICEMConfig)
    mppi: MPPIConfig = field(default_factory=MPPIConfig)
    random: RandomShootingConfig = field(default_factory=RandomShootingConfig)
    gradient: GradientConfig = field(default_factory=GradientConfig)
    cem_gradient: CEMGradientConfig = field(default_factory=CEMGradientConfig)
    proposal: ProposalConfig = field(default_factory=ProposalConfig)


PLANNERS: Mapping[str, Callable[[PlannerConfigs, PlanSpace], Planner]] = {
    "cem": lambda configs, space: CEMPlanner(configs.cem, space=space),
    "icem": lambda configs, space: ICEMPlanner(configs.icem, space=space),
    "mppi": lambda configs, space: MPPIPlanner(configs.mppi, space=space),
    "random": lambda configs, space: RandomShootingPlanner(configs.random, space=space),
    "gradient": lambda configs, space: GradientPlanner(configs.gradient, space=space),
    "cem-gradient": lambda configs, space: CEMGradientPlanner(configs.cem_gradient, space=space),
    "proposal": lambda configs, space: ProposalPlanner(configs.proposal, space=space),
}


def make_planner(name: str, configs: PlannerConfigs, space: PlanSpace) -> Planner:
    """Make a planner by its name in `PLANNERS`.

    Raises:
        WorldModelError: no planner has that name; lists those there are.
    """
    if name not in PLANNERS:
        raise unknown_name("planner", name, PLANNERS)
    return PLANNERS[name](configs, space)
