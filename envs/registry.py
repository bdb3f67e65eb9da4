"""Worlds by name: our own tasks, MJCF files, and other people's environments that MuJoCo simulates."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import io
import json
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
from gymnasium.envs.registration import EnvSpec

from worldmodel.config import read_dataclass
from worldmodel.envs.dm_control_world import PREFIX, DmControlWorld, suite_names
from worldmodel.envs.gymnasium_world import GymnasiumWorld
from worldmodel.envs.ogbench_world import OGBenchWorld
from worldmodel.envs.robotics_joints import mend_joints
from worldmodel.envs.task import Task, TaskConfig
from worldmodel.envs.world import World
from worldmodel.envs.xml_world import XmlWorld
from worldmodel.errors import WorldModelError, unknown_name
from worldmodel.tasks import TASKS


@dataclass(frozen=True)
class Package:
    """An optional package that brings environments.

    Attributes:
        module: what to import.
        extra: the extra of ours that installs it.
        names: matches the names of its environments.
    """

    module: str
    extra: str
    names: re.Pattern[str]


DM_CONTROL = Package("dm_control", "dm-control", re.compile(PREFIX))
REGISTERING = (  # these register gymnasium ids when they are imported
    Package(
        "ogbench",
        "ogbench",
        re.compile(r"(visual-)?(pointmaze|antmaze|humanoidmaze|antsoccer|cube|scene|puzzle)-"),
    ),
    Package("gymnasium_robotics", "robotics", re.compile(r"PointMaze_|AntMaze_|AdroitHand|Fetch|Hand|FrankaKitchen")),
)


def make_task(name: str, arguments: str = "{}") -> Task:
    """Make one of our own tasks.

    Args:
        arguments: its configuration as a JSON object; what is left out keeps its default.

    Raises:
        WorldModelError: no task has that name, or it does not take the arguments; lists those there are.
    """
    return _task_class(name)(task_config(name, arguments))


def task_config(name: str, arguments: str = "{}") -> TaskConfig:
    """Return the configuration of one of our own tasks.

    Args:
        arguments: as `make_task` takes them.

    Raises:
        WorldModelError: as `make_task` says.
    """
    return _configure(_task_class(name).Config, _parse(arguments), f"argument of '{name}'")


def _task_class(name: str) -> type[Task]:
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    module, _, kind = TASKS[name].partition(":")
    task: type[Task] = getattr(importlib.import_module(module), kind)
    return task


def make_world(name: str, arguments: str = "{}") -> World:
    """Make a world by its name. `world_names()` lists them.

    Args:
        name: one of our tasks ("worldmodel/Reacher-v0"), a gymnasium id ("HalfCheetah-v5", and those of
            gymnasium-robotics and OGBench), a task of dm_control's suite ("dm_control/reacher-easy"), or the path
            of an MJCF file ("robots/arm.xml").
        arguments: for the environment's constructor, as a JSON object: '{"reset_noise_scale": 0.1}'. For
            dm_control: '{"task_kwargs": {...}, "environment_kwargs": {...}}'. For our tasks, their configuration:
            '{"variation": {"colour": 0.5, "seed": 1}}', and '{"door": "random"}' for two rooms.

    Raises:
        WorldModelError: no environment has that name, its package is missing, MuJoCo does not simulate it, or
            it does not take the arguments.
    """
    if name in TASKS:
        with _no_remarks():
            return make_task(name, arguments)
    values = _parse(arguments)
    if name.endswith(".xml"):
        if values:
            raise WorldModelError(f"World '{name}' takes no arguments, and got {arguments}. Leave them out.")
        with _no_remarks():
            return XmlWorld(Path(name))
    make = _maker(name)
    try:
        with _no_remarks():
            return make(name, values)
    except WorldModelError:
        raise
    except Exception as error:  # other people's constructors fail in their own ways, assertions among them
        given = f" with arguments {arguments}" if values else ""
        raise WorldModelError(f"Environment '{name}' cannot be made{given}: {_told(error)}.") from error


def world_names() -> dict[str, list[str]]:
    """Return the names of all worlds that are installed, by the package that brings them.

    Of several versions of an environment, the newest. Some need another MuJoCo than is installed;
    `make_world` says so.
    """
    names = {"worldmodel": list(TASKS), "gymnasium": _gymnasium_names("gymnasium.envs.mujoco")}
    if _installed(DM_CONTROL):
        names["dm_control"] = suite_names()
    for package in REGISTERING:
        if _installed(package):
            _register(package)
            names[package.module] = list(filter(package.names.match, _gymnasium_names(package.module)))
    return names


def missing_packages() -> list[Package]:
    """Return the optional packages with more worlds that are not installed."""
    return [package for package in (DM_CONTROL, *REGISTERING) if not _installed(package)]


def _parse(arguments: str) -> dict[str, Any]:
    expected = "expected a JSON object such as '{\"reset_noise_scale\": 0.1}'"
    try:
        values = json.loads(arguments)
    except json.JSONDecodeError as error:
        raise WorldModelError(f"Environment arguments {arguments!r} are not JSON ({error}); {expected}.") from None
    if not isinstance(values, dict):
        raise WorldModelError(f"Environment arguments {arguments!r} are not an object; {expected}.")
    return values


def _configure(kind: type[TaskConfig], values: dict[str, Any], where: str) -> TaskConfig:
    """Return the configuration `kind` with its defaults replaced by `values`."""
    try:
        return read_dataclass(kind, _complete(asdict(kind()), values, where), where)
    except ValueError as error:
        raise WorldModelError(f"Wrong {error}.") from None


def _complete(defaults: dict[str, Any], values: dict[str, Any], where: str) -> dict[str, Any]:
    """Return `defaults`, also those inside them, replaced by `values`.

    Raises:
        WorldModelError: a name that has no default; lists those that have.
    """
    for name, value in values.items():
        if name not in defaults:
            raise unknown_name(where, name, defaults)
        inside = isinstance(defaults[name], dict) and isinstance(value, dict)
        defaults[name] = _complete(defaults[name], value, f"{where}.{name}") if inside else value
    return defaults


def _maker(name: str) -> Callable[[str, Mapping[str, Any]], World]:
    """Return what makes the world, its package imported."""
    if name.startswith(PREFIX):
        _require(DM_CONTROL, name)
        if name not in suite_names():
            raise _unknown(name)
        return DmControlWorld
    for package in REGISTERING:
        if name not in gymnasium.registry and package.names.match(name):
            _require(package, name)
            _register(package)
    if name not in gymnasium.registry:
        raise _unknown(name)
    return OGBenchWorld if _home(name) == "ogbench" else GymnasiumWorld


def _installed(package: Package) -> bool:
    return importlib.util.find_spec(package.module) is not None


def _require(package: Package, name: str) -> None:
    if not _installed(package):
        raise WorldModelError(
            f"Environment '{name}' needs the package {package.module}, which is not installed: "
            f"pip install 'worldmodel[{package.extra}]'."
        )


def _register(package: Package) -> None:
    with _no_remarks():
        importlib.import_module(package.module)
    if package.module == "gymnasium_robotics":
        mend_joints()


def _home(name: str) -> str:
    """Return the package that a registered id comes from."""
    return str(gymnasium.registry[name].entry_point).split(".")[0]


def _unknown(name: str) -> WorldModelError:
    families = world_names()
    names = [name for family in families.values() for name in family]
    near = difflib.get_close_matches(name, names, n=5)
    hint = f" Did you mean {' or '.join(repr(other) for other in near)}?" if near else ""
    known = ", ".join(f"{len(found)} of {family}" for family, found in families.items())
    return WorldModelError(
        f"Unknown environment '{name}'.{hint} Known are {known}, and any MJCF file by its path; "
        "`worldmodel envs` lists them all."
    )


def _told(error: Exception) -> str:
    """Return an error's name and message, or in place of an empty message the line that raised it."""
    if str(error):
        return f"{type(error).__name__}: {error}".rstrip(".")
    line = traceback.extract_tb(error.__traceback__)[-1]
    versions = f"MuJoCo {mujoco.__version__}"
    return (
        f"{type(error).__name__} at `{line.line}` ({Path(line.filename).name}, line {line.lineno}). "
        f"Its package probably does not support {versions}; choose another environment"
    )


@contextmanager
def _no_remarks() -> Iterator[None]:
    """Keep back remarks on old versions (gymnasium's) and old XML (MuJoCo's, which leaves a log file, too).

    Every worker would make them, in the midst of the progress bar, and nobody here can act on them.
    """
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda remark: None)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        mujoco.set_mju_user_warning(before)


def _gymnasium_names(module: str) -> list[str]:
    """Return the environments registered from `module`, each in its newest version."""
    newest: dict[tuple[str | None, str], EnvSpec] = {}
    for spec in gymnasium.registry.values():
        if str(spec.entry_point).startswith(module):
            other = newest.get((spec.namespace, spec.name))
            if other is None or (other.version or 0) < (spec.version or 0):
                newest[spec.namespace, spec.name] = spec
    return [spec.id for spec in newest.values()]
