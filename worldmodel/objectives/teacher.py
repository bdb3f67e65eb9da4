"""A teacher: a copy of a network that follows it slowly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from worldmodel.errors import WorldModelError


@dataclass(frozen=True)
class TeacherConfig:
    """How slowly the teacher follows.

    Attributes:
        momentum: share of itself that the teacher keeps at a step, in the beginning.
        last_momentum: the same in the end; between, it goes along a cosine.
    """

    momentum: float = 0.99
    last_momentum: float = 1.0

    def __post_init__(self) -> None:
        for name in ("momentum", "last_momentum"):
            if not 0 <= getattr(self, name) <= 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected a share between 0 and 1.")


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, config: TeacherConfig, progress: float) -> None:
    """Move the teacher's weights a little towards the student's.

    Args:
        progress: share of training done, 0 to 1.

    Source: Tarvainen and Valpola, Mean teachers, 2017; the schedule of BYOL, Grill et al., 2020, section 3.3.
    """
    keep = config.last_momentum - (config.last_momentum - config.momentum) * (math.cos(math.pi * progress) + 1) / 2
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1 - keep)
