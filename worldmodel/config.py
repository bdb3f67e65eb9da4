"""Configurations as JSON: written with every output, read back strictly."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def to_json(config: Any) -> str:
    """Return a frozen dataclass, with those inside it, as JSON text.

    Where a field may hold one of several dataclasses, `kind` tells which.
    """
    return json.dumps(_plain(config, type(config)), indent=1, default=str) + "\n"


def _plain(value: Any, hint: Any) -> Any:
    """Return a value, which a field declared as `hint` holds, as what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = typing.get_type_hints(type(value))
        fields = {
            field.name: _plain(getattr(value, field.name), hints[field.name]) for field in dataclasses.fields(value)
        }
        return {"kind": type(value).__name__, **fields} if len(_dataclasses(hint)) > 1 else fields
    if isinstance(value, tuple):
        arguments = typing.get_args(hint)
        return [_plain(item, arguments[0] if arguments else Any) for item in value]
    if isinstance(value, dict):
        arguments = typing.get_args(hint)
        return {key: _plain(item, arguments[1] if arguments else Any) for key, item in value.items()}
    return value


def _dataclasses(hint: Any) -> list[type]:
    """Return the dataclasses that a union allows."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return []
    return [kind for kind in typing.get_args(hint) if dataclasses.is_dataclass(kind) and isinstance(kind, type)]


def flat(fields: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values in nested mappings by their names with dots, such as "see.steps"."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


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
    if len(_dataclasses(kind)) > 1 and isinstance(value, dict):
        return _read_kind(_dataclasses(kind), value, where)
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


def _read_kind(kinds: list[type], value: dict[str, Any], where: str) -> Any:
    by_name = {kind.__name__: kind for kind in kinds}
    name = value.get("kind")
    if name not in by_name:
        raise ValueError(f"{where}.kind is {name!r}; expected one of {', '.join(by_name)}")
    rest = {key: item for key, item in value.items() if key != "kind"}
    return _read_dataclass(by_name[name], rest, where)


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
