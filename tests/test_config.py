"""Configurations come back from JSON as they were, and mistakes in them are named."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

import worldmodel
from worldmodel.config import from_json, to_json
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import EvaluationConfig
from worldmodel.evaluation.measure import MeasureConfig
from worldmodel.evaluation.probe import ProbeConfig
from worldmodel.evaluation.probes.tuning import TuneConfig
from worldmodel.objectives.masked_future import MaskedFutureConfig
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.training.config import TrainConfig
from worldmodel.training.stage import StageConfig


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(),
        TrainConfig(see=StageConfig(steps=7, batch=2, length=4), held_out=0.25, seed=9),
        EvaluationConfig(),
        MeasureConfig(length=9, visible=4),
        ProbeConfig(labels=("5%",), tune=TuneConfig(seeds=0)),
        EvaluationConfig(planning=PlanningConfig(hold=1, cem=CEMConfig(elites=3, spread=1.0)), episodes=2),
    ],
)
def test_there_and_back(config: Any) -> None:
    assert from_json(type(config), to_json(config)) == config


def test_a_tuple_stays_a_tuple_and_a_whole_number_may_stand_for_a_float() -> None:
    held = json.loads(to_json(TrainConfig()))
    held["model"]["encoder"]["widths"] = [16, 32, 64]
    held["whiten_floor"] = 1
    config = from_json(TrainConfig, json.dumps(held))
    assert config.model.encoder.widths == (16, 32, 64)
    assert isinstance(config.whiten_floor, float)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("see", "stepz"), 3, "stepz"),
        (("see", "steps"), "many", "TrainConfig.see.steps"),
        (("see", "steps"), 3.5, "TrainConfig.see.steps"),
        (("see", "steps"), True, "TrainConfig.see.steps"),
        (("see",), 3, "TrainConfig.see"),
        (("model", "encoder", "widths"), [8, "x"], r"TrainConfig.model.encoder.widths\[1\]"),
        (("model", "encoder", "widths"), 8, "TrainConfig.model.encoder.widths"),
        (("held_out",), None, "TrainConfig.held_out"),
    ],
)
def test_a_wrong_field_is_named(path: tuple[str, ...], value: Any, named: str) -> None:
    held = json.loads(to_json(TrainConfig()))
    inner = held
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(ValueError, match=named):
        from_json(TrainConfig, json.dumps(held))


def test_a_missing_field_is_named() -> None:
    held = json.loads(to_json(EvaluationConfig()))
    del held["planning"]["cem"]["rounds"]
    with pytest.raises(ValueError, match=r"EvaluationConfig.planning.cem: missing fields \['rounds'\]"):
        from_json(EvaluationConfig, json.dumps(held))


@dataclass(frozen=True)
class Inner:
    size: int


@dataclass(frozen=True)
class Optional:
    """One field of every kind that may be left out."""

    path: Path | None = None
    part: Inner | None = None
    word: str | None = None
    number: float | None = None
    count: int | str = 0
    way: Literal["slow", "fast"] | None = None
    sizes: tuple[int, ...] | None = None


@pytest.mark.parametrize(
    "config",
    [
        Optional(),
        Optional(path=Path("/some/where"), part=Inner(3), word="", number=0.5, count="many", way="fast", sizes=(1, 2)),
        Optional(count=0, sizes=()),
    ],
)
def test_what_may_be_left_out_is_read_as_what_it_is(config: Optional) -> None:
    read = from_json(Optional, to_json(config))
    assert read == config
    for name in ("path", "part", "word", "number", "count", "sizes"):
        assert type(getattr(read, name)) is type(getattr(config, name))


def test_a_whole_number_may_stand_for_a_float_that_may_be_left_out() -> None:
    read = from_json(Optional, to_json(Optional(number=2)))
    assert isinstance(read.number, float)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", 3),
        ("part", {"size": "x"}),
        ("part", {}),
        ("part", []),
        ("word", 3),
        ("number", "x"),
        ("number", True),
        ("count", None),
        ("count", 1.5),
        ("count", False),
        ("way", "soon"),
        ("sizes", [1, "x"]),
        ("sizes", 3),
    ],
)
def test_what_is_none_of_the_kinds_is_refused_by_name(name: str, value: Any) -> None:
    held = json.loads(to_json(Optional())) | {name: value}
    with pytest.raises(ValueError, match=rf"Optional\.{name}"):
        from_json(Optional, json.dumps(held))


@pytest.mark.parametrize("text", ["", "[]", "{", "3"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|TrainConfig is"):
        from_json(TrainConfig, text)


def test_impossible_values_are_refused() -> None:
    for name, value in (("held_out", 0.0), ("held_out", 1.0), ("log_every", 0), ("save_every", 0)):
        with pytest.raises(WorldModelError, match=name):
            replace(TrainConfig(), **{name: value})
    with pytest.raises(WorldModelError, match=r"forecast\.length"):
        TrainConfig(forecast=StageConfig(steps=1, batch=1, length=7))
    with pytest.raises(WorldModelError, match="dynamics is set"):
        TrainConfig(dynamics=MaskedFutureConfig())
    with pytest.raises(WorldModelError, match="minutes is 0"):
        TrainConfig(minutes=0)
    for name, value in (("episodes", 0), ("ahead", -1), ("budget", -1), ("oracle", 51), ("seed", -1)):
        with pytest.raises(WorldModelError, match=name):
            replace(EvaluationConfig(), **{name: value})


def test_every_public_name_can_be_got() -> None:
    for name in worldmodel.__all__:
        assert getattr(worldmodel, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = worldmodel.nonsense


@dataclass(frozen=True)
class Square:
    side: float = 1.0


@dataclass(frozen=True)
class Rectangle:
    side: float = 1.0  # by its fields alone, nobody could tell the two apart
    other: tuple[Square | Rectangle, ...] = ()


@dataclass(frozen=True)
class Drawing:
    shape: Square | Rectangle | None = None


@pytest.mark.parametrize(
    "drawing", [Drawing(), Drawing(Square(2)), Drawing(Rectangle(2, (Square(3.0), Rectangle(4.0))))]
)
def test_of_several_kinds_the_right_one_comes_back(drawing: Drawing) -> None:
    assert from_json(Drawing, to_json(drawing)) == drawing


@pytest.mark.parametrize("kind", ["Circle", None])
def test_an_unknown_kind_is_named(kind: str | None) -> None:
    text = json.dumps({"shape": {"kind": kind, "side": 1.0}})
    with pytest.raises(ValueError, match=r"Drawing.shape.kind is .*; expected one of Square, Rectangle"):
        from_json(Drawing, text)
