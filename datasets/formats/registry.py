"""The formats that recordings are exchanged in, by name, and which one a source is in."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py

from worldmodel.datasets.formats import (
    lerobot,
    lerobot_export,
    minari,
    minari_export,
    robomimic,
    stable_worldmodel,
    video,
)
from worldmodel.datasets.formats.source import Source, SourceConfig
from worldmodel.datasets.manifest import MANIFEST
from worldmodel.datasets.shard import UNREADABLE
from worldmodel.errors import RecordingError, WorldModelError, unknown_name

FormatName = Literal["video", "minari", "lerobot", "robomimic", "stable-worldmodel"]
Tick = Callable[[int], None]


@dataclass(frozen=True)
class Target:
    """Where an export goes.

    Attributes:
        out: file or folder to write, which is renamed when it is whole.
        name: what it will be called then.
        lossy: whether videos may lose pixels' exact values.
    """

    out: Path
    name: str
    lossy: bool


@dataclass(frozen=True)
class Format:
    """A format that recordings are exchanged in.

    Attributes:
        open_source: opens what a user named to import, as the user wrote it.
        write: writes a source, telling `Tick` of frames.
        has_video: whether pictures are encoded as video.
        several: whether several sources make one recording.
    """

    open_source: Callable[[Sequence[str], SourceConfig], AbstractContextManager[Source]]
    write: Callable[[Source, Target, Tick], None]
    has_video: bool = False
    several: bool = False


FORMATS: Mapping[str, Format] = {
    "video": Format(
        lambda sources, config: video.open_source([Path(source) for source in sources], config),
        lambda source, target, tick: video.write(source, target.out, lossy=target.lossy, tick=tick),
        has_video=True,
        several=True,
    ),
    "minari": Format(
        lambda sources, config: minari.open_source(sources[0], config),
        lambda source, target, tick: minari_export.write(source, target.out, target.name, tick),
    ),
    "lerobot": Format(
        lambda sources, config: lerobot.open_source(Path(sources[0]), config),
        lambda source, target, tick: lerobot_export.write(source, target.out, lossy=target.lossy, tick=tick),
        has_video=True,
    ),
    "robomimic": Format(
        lambda sources, config: robomimic.open_source(Path(sources[0]), config),
        lambda source, target, tick: robomimic.write(source, target.out, tick),
    ),
    "stable-worldmodel": Format(
        lambda sources, config: stable_worldmodel.open_source(Path(sources[0]), config),
        lambda source, target, tick: stable_worldmodel.write(source, target.out, tick),
    ),
}


def find_format(name: str) -> Format:
    """Return the format of that name.

    Raises:
        WorldModelError: there is none; lists those there are.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    return FORMATS[name]


def expand(sources: Sequence[str]) -> list[str]:
    """Replace patterns such as "videos/*.mp4" that no shell has expanded.

    Raises:
        RecordingError: a pattern fits no file.
    """
    expanded: list[str] = []
    for source in sources:
        if Path(source).exists() or not glob.has_magic(source):
            expanded.append(source)
            continue
        found = sorted(glob.glob(source))
        if not found:
            raise RecordingError(f"No file is called like '{source}'.")
        expanded += found
    return expanded


def guess_format(sources: Sequence[str]) -> str:
    """Return the name of the format that the sources are in.

    Raises:
        WorldModelError: it is not clear; says what to do.
    """
    path = Path(sources[0])
    if all(Path(source).suffix.lower() in video.SUFFIXES for source in sources):
        return "video"
    if (path / MANIFEST).is_file():
        raise WorldModelError(f"'{path}' is a recording already; there is nothing to import.")
    if (path / lerobot.INFO).is_file():
        return "lerobot"
    if any((data / minari_export.METADATA).is_file() for data in (path, path / "data")):
        return "minari"
    if path.is_file() and (name := _guess_hdf5(path)):
        return name
    if not path.exists() and re.fullmatch(r"[\w-]+(/[\w-]+)*-v\d+", sources[0]):
        return "minari"
    if not path.exists():
        raise RecordingError(f"'{path}' does not exist; expected a file, a folder or the id of a Minari dataset.")
    raise WorldModelError(f"It is not clear which format '{path}' is in. Say it: --format {'|'.join(FORMATS)}")


def _guess_hdf5(path: Path) -> str | None:
    try:
        with h5py.File(path, "r", locking=False) as file:
            if "ep_len" in file and "ep_offset" in file:
                return "stable-worldmodel"
            if isinstance(file.get("data"), h5py.Group) and any(name.startswith("demo_") for name in file["data"]):
                return "robomimic"
    except UNREADABLE:
        pass
    return None
