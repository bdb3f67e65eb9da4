"""Light, colour and friction: changed as asked, and put back as they were."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.envs.reacher import Reacher
from worldmodel.envs.registry import make_world
from worldmodel.envs.rope import Rope
from worldmodel.errors import WorldModelError
from worldmodel.viewing.live.factors import FactorControl, Factors


@pytest.mark.parametrize("env", ["worldmodel/Reacher-v0", "HalfCheetah-v5"])
def test_everything_can_be_put_back(env: str) -> None:
    world = make_world(env)
    model = world.model
    fields = (model.geom_rgba, model.mat_rgba, model.geom_friction, model.dof_damping, model.light_diffuse)
    before = [field.copy() for field in fields]
    control = FactorControl(model)
    control.apply(Factors(light=0.3, hue=120, friction=4))
    assert any((field != value).any() for field, value in zip(fields, before, strict=True))
    for factors in (Factors(hue=50), Factors()):  # what was applied before does not add up
        control.apply(factors)
    assert all(np.array_equal(field, value) for field, value in zip(fields, before, strict=True))
    control.apply(Factors(light=2))
    control.restore()
    assert all(np.array_equal(field, value) for field, value in zip(fields, before, strict=True))
    world.close()


def test_factors_do_what_they_say() -> None:
    world = Reacher()
    model = world.model
    arm = model.geom("upper").id
    red, green, blue, alpha = model.geom_rgba[arm].copy()
    damping, ambient = model.dof_damping.copy(), model.vis.headlight.ambient.copy()
    FactorControl(model).apply(Factors(light=0.5, hue=120, friction=3))
    assert model.geom_rgba[arm] == pytest.approx([blue, red, green, alpha], abs=1e-6)
    assert model.dof_damping == pytest.approx(3 * damping)
    assert model.vis.headlight.ambient == pytest.approx(0.5 * ambient)


def test_a_rope_is_turned_in_colour_and_rubs_otherwise_too() -> None:
    model = Rope().model
    (red, green, blue, alpha), friction = model.flex_rgba[0].copy(), model.flex_friction.copy()
    FactorControl(model).apply(Factors(hue=120, friction=3))
    assert len({float(red), float(green), float(blue)}) > 1  # no grey, which has no hue
    assert model.flex_rgba[0] == pytest.approx([blue, red, green, alpha], abs=1e-6)
    assert model.flex_friction == pytest.approx(3 * friction)


def test_what_is_beyond_bounds_is_refused() -> None:
    for name in ("light", "hue", "friction"):
        with pytest.raises(WorldModelError, match=name):
            Factors(**{name: -1.0})
        with pytest.raises(WorldModelError, match=name):
            Factors(**{name: float("nan")})
