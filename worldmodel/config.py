"""Configurations as JSON: written with every output, read back strictly."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def to_json(config: Any) -> str:
    """Return a frozen dataclass, with those inside it, as JSON text."""
    return json.dumps(dataclasses.asdict(config), indent=1, default=str) + "\n"


def from_json(kind: type[T], text: str) -> T:
    """Read a `kind` from JSON text.

    Raises:
        ValueError: not JSON, or a field is missing, unknown or of another type; names the field.
    """
    return read_dataclass(kind, json.loads(text), kind.__name__)


def read_dataclass(kind: type[T], value: Any, where: str) -> T:
    """Read a `kind` from parsed JSON; `where` names it in errors.

    Raises:
        ValueError: a field is missing, unknown or of another type; names the field.
    """
    read: T = _read(kind, value, where)
    return read


def _read(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _read_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {name: _read(arguments[1], item, f"{where}.{name}") for name, item in value.items()}
    if origin is typing.Literal and value in arguments:
        return value
    if origin in (typing.Union, types.UnionType):
        return _read_union(arguments, value, where)
    if kind is types.NoneType and value is None:
        return None
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and type(value) is int:
        return float(value)
    if kind in (int, float, str, bool) and type(value) is kind:
        return value
    raise ValueError(f"{where} is {value!r}; expected {kind}")


def _read_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    answers = []
    for kind in kinds:
        try:
            return _read(kind, value, where)
        except ValueError as error:
            answers.append(str(error))
    raise ValueError("; ".join(answers))


def _read_dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}; expected an object")
    hints = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    if set(value) != names:
        missing, unknown = sorted(names - set(value)), sorted(set(value) - names)
        raise ValueError(f"{where}: missing fields {missing}, unknown fields {unknown}")
    return kind(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in names})
