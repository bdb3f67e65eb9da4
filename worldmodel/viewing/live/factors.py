"""Change how a world looks and rubs while it runs, to see what the model makes of it."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.variation import COLOUR_FIELDS, FRICTION_FIELDS
from worldmodel.errors import WorldModelError

HUE_STEPS = 360


@dataclass(frozen=True)
class Factors:
    """What is varied; the defaults leave the world as it is.

    Attributes:
        light: brightness of all lights, as a multiple.
        hue: degrees by which every colour turns on the colour wheel; textures keep theirs.
        friction: of contacts and joints (damping and dry friction), as a multiple.
    """

    light: float = 1.0
    hue: float = 0.0
    friction: float = 1.0

    def __post_init__(self) -> None:
        for name, low, high in (("light", 0.0, 3.0), ("hue", 0.0, 360.0), ("friction", 0.0, 20.0)):
            if not low <= getattr(self, name) <= high:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected {low:g} to {high:g}.")


class FactorControl:
    """Apply factors to a model, always starting from how it was.

    Args:
        model: the simulation's own; a world that compiles another needs another `FactorControl`.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model = model
        self._lights: list[NDArray[Any]] = [
            *(model.vis.headlight.ambient, model.vis.headlight.diffuse, model.vis.headlight.specular),
            *(model.light_ambient, model.light_diffuse, model.light_specular),
        ]
        self._colours: list[NDArray[Any]] = [getattr(model, name) for name in (*COLOUR_FIELDS, "site_rgba")]
        self._rubbing: list[NDArray[Any]] = [getattr(model, name) for name in FRICTION_FIELDS]
        self._as_it_was: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self.keep()

    def keep(self) -> None:
        """Take the model as it is now for how it was; to be called when something else has changed its looks."""
        fields = (*self._lights, *self._colours, *self._rubbing)
        self._as_it_was = [(field, field.copy()) for field in fields]

    def restore(self) -> None:
        """Put everything back."""
        for field, value in self._as_it_was:
            field[:] = value

    def apply(self, factors: Factors) -> None:
        """Make the model look and rub as `factors` say."""
        self.restore()
        for field in self._lights:
            field *= factors.light
        for field in self._rubbing:
            field *= factors.friction
        if factors.hue % HUE_STEPS:
            for field in filter(len, self._colours):
                field[:, :3] = [_turned(colour, factors.hue / HUE_STEPS) for colour in field[:, :3]]


def _turned(colour: NDArray[np.float32], turn: float) -> tuple[float, float, float]:
    hue, saturation, value = colorsys.rgb_to_hsv(*map(float, colour))
    return colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)
