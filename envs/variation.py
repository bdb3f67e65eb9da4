"""Factors of variation: how a task may look and behave otherwise, for tests under shift and for varied recordings."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.errors import WorldModelError

# The groups that our models put their geoms in.
SCENERY, ROBOT, OBJECTS = 0, 1, 2

FACTORS = ("colour", "camera", "light", "size", "friction", "mass")

# The fields of a model that hold the colours of its things, and what rubs.
COLOUR_FIELDS = ("geom_rgba", "mat_rgba", "flex_rgba")
FRICTION_FIELDS = ("geom_friction", "flex_friction", "dof_damping", "dof_frictionloss")

# What a factor does at strength 1.
CAMERA_SHIFT, CAMERA_ZOOM = 0.05, 0.1  # share of its distance from the scene, share of its field of view
LIGHT_SCALE, LIGHT_TILT = 1.6, 0.5  # times or divided by, rad
SIZE_SHARE = 0.25
FRICTION_SCALE, MASS_SCALE = 3.0, 3.0  # times or divided by


@dataclass(frozen=True)
class Variation:
    """How far a task is from its plain form, factor by factor; 0 leaves a factor alone, 1 is the most.

    A strength says how far: each draw is at least half that far from the plain task, in a random direction.

    Attributes:
        colour: every colour goes this share of the way to a random one, as bright; things of one colour keep one.
        camera: position shifted by up to 5 % of its distance from the scene, field of view changed by up to 10 %.
        light: up to 1.6 times as bright or as dark, tilted by up to 0.5 rad.
        size: objects (what the goal is about: blocks, balls, ropes, poles, fingertips) up to 25 % larger or
            smaller; their masses stay.
        friction: sliding friction and joint damping up to three times or a third.
        mass: masses and inertias up to three times or a third.
        seed: decides the draws.
        every_episode: draw anew at each reset, from the episode's own generator in place of `seed`.
    """

    colour: float = 0.0
    camera: float = 0.0
    light: float = 0.0
    size: float = 0.0
    friction: float = 0.0
    mass: float = 0.0
    seed: int = 0
    every_episode: bool = False

    def __post_init__(self) -> None:
        for name in FACTORS:
            if not 0 <= getattr(self, name) <= 1:
                raise WorldModelError(f"Variation of {name} is {getattr(self, name)}; expected 0 (none) to 1.")
        if self.seed < 0:
            raise WorldModelError(f"Variation seed is {self.seed}; expected 0 or more.")


class VariedModel:
    """A model that can be varied in place, any number of times, and taken back exactly.

    Only numbers that MuJoCo and the renderer read anew for each step and frame are changed, so that renderers and
    data made for the model stay valid.

    Args:
        model: the plain model, kept and changed in place.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model, self._plain = model, copy.deepcopy(model)
        self._arrays = [name for name in dir(model) if _is_writable_array(getattr(model, name))]
        self._is_plain = True

    def apply(self, variation: Variation, rng: np.random.Generator) -> None:
        """Vary the plain model by `variation`; nothing is left of an earlier one.

        Each factor has its own stream of draws, so that switching one on leaves the others as they are.
        """
        self.restore()
        streams = rng.spawn(len(FACTORS))
        for name, vary, stream in zip(
            FACTORS, (_colour, _camera, _light, _size, _friction, _mass), streams, strict=True
        ):
            if strength := getattr(variation, name):
                vary(self._model, strength, stream)
                self._is_plain = False
        if variation.size or variation.mass:
            mujoco.mj_setConst(self._model, mujoco.MjData(self._model))

    def restore(self) -> None:
        """Make the model what it was, to the bit."""
        if self._is_plain:
            return
        for name in self._arrays:
            getattr(self._model, name)[...] = getattr(self._plain, name)
        for name in ("meaninertia", "meanmass", "meansize", "extent"):
            setattr(self._model.stat, name, getattr(self._plain.stat, name))
        self._model.stat.center[:] = self._plain.stat.center
        self._is_plain = True


def _is_writable_array(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.flags.writeable


def _away(strength: float, rng: np.random.Generator, count: int = 1) -> NDArray[np.float64]:
    """Return `[count]` numbers in [-strength, strength], none nearer to 0 than half of that."""
    return np.asarray(rng.choice([-1.0, 1.0], count) * rng.uniform(0.5, 1.0, count) * strength)


def _colour(model: mujoco.MjModel, strength: float, rng: np.random.Generator) -> None:
    bare = model.geom_matid < 0
    for name in COLOUR_FIELDS:
        colours, chosen = getattr(model, name), bare if name == "geom_rgba" else slice(None)
        before = colours[chosen]
        distinct, which = np.unique(before, axis=0, return_inverse=True)
        other = _another_colour(distinct[:, :3], rng)
        distinct[:, :3] += strength * (other - distinct[:, :3])
        colours[chosen] = distinct[which.reshape(-1)]


def _another_colour(colours: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return other colours `[N, 3]`, each as bright as the one it replaces, so that what is seen stays to be seen.

    Of four random ones, the farthest from it.
    """
    drawn = rng.uniform(0, 1, (4, *colours.shape))
    drawn *= colours.max(1, keepdims=True) / drawn.max(2, keepdims=True)
    farthest = np.linalg.norm(drawn - colours, axis=2).argmax(0)
    return np.asarray(drawn[farthest, np.arange(len(colours))])


def _camera(model: mujoco.MjModel, strength: float, rng: np.random.Generator) -> None:
    for camera in range(model.ncam):
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        distance = np.linalg.norm(model.cam_pos[camera] - model.stat.center)
        model.cam_pos[camera] += direction * distance * CAMERA_SHIFT * abs(_away(strength, rng))
        model.cam_fovy[camera] *= 1 + CAMERA_ZOOM * _away(strength, rng)[0]


def _light(model: mujoco.MjModel, strength: float, rng: np.random.Generator) -> None:
    brightness = LIGHT_SCALE ** _away(strength, rng)[0]
    for light in range(model.nlight):
        model.light_ambient[light] *= brightness
        model.light_diffuse[light] *= brightness
        across = np.cross(model.light_dir[light], rng.standard_normal(3))
        across /= np.linalg.norm(across)
        angle = LIGHT_TILT * _away(strength, rng)[0]
        model.light_dir[light] = np.cos(angle) * model.light_dir[light] + np.sin(angle) * across


def _size(model: mujoco.MjModel, strength: float, rng: np.random.Generator) -> None:
    """Scale a body that is all objects about its frame, and other objects each about its own centre."""
    scale = 1 + SIZE_SHARE * _away(strength, rng)[0]
    objects = model.geom_group == OBJECTS
    for name in ("geom_size", "geom_rbound", "geom_aabb"):
        getattr(model, name)[objects] *= scale
    whole = np.array([_all_objects(model, body) for body in range(model.nbody)])
    model.geom_pos[objects & whole[model.geom_bodyid]] *= scale
    model.site_pos[whole[model.site_bodyid]] *= scale
    model.body_ipos[whole] *= scale
    model.body_inertia[whole] *= scale**2
    for body in np.flatnonzero(whole):
        first = model.body_bvhadr[body]
        model.bvh_aabb[first : first + model.body_bvhnum[body]] *= scale
    model.flex_radius[:] *= scale


def _all_objects(model: mujoco.MjModel, body: int) -> bool:
    geoms = model.geom_bodyid == body
    return bool(geoms.any() and (model.geom_group[geoms] == OBJECTS).all())


def _friction(model: mujoco.MjModel, strength: float, rng: np.random.Generator) -> None:
    scale = FRICTION_SCALE ** _away(strength, rng)[0]
    for name in FRICTION_FIELDS:
        getattr(model, name)[...] *= scale


def _mass(model: mujoco.MjModel, strength: float, rng: np.random.Generator) -> None:
    scale = MASS_SCALE ** _away(strength, rng)[0]
    model.body_mass[:] *= scale
    model.body_inertia[:] *= scale
