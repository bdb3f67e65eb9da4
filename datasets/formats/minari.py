"""Read Minari datasets: `data/metadata.json` and `data/main_data.hdf5` with B + 1 observations and B actions."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image

from worldmodel.datasets.formats.hdf5 import (
    STATE,
    constant,
    dataset,
    ending_of,
    episode_of,
    foreign_columns,
    hdf5_source,
    in_pieces,
    part,
)
from worldmodel.datasets.formats.minari_export import EXTRA, INFOS, MAIN, METADATA
from worldmodel.datasets.formats.rows import NUMBERS, Columns, Reader, picture_keys
from worldmodel.datasets.formats.source import (
    OWN_KEY,
    Source,
    SourceConfig,
    SourceEpisode,
    bounds_of,
    foreign_provenance,
    frame_seconds,
    is_picture,
    optional_package,
    own_provenance,
    reading,
    widened,
)
from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.schema import Ending
from worldmodel.errors import RecordingError

NAME = "a Minari dataset"


def find(source: str) -> Path | None:
    """Return the folder that holds the data of a Minari dataset, given by its folder or its id."""
    folder = Path(source)
    for data in (folder, folder / "data"):
        if (data / METADATA).is_file():
            return data
    if folder.exists():
        return None
    data = Path(optional_package("minari", EXTRA).storage.get_dataset_path(source)) / "data"
    return data if (data / METADATA).is_file() else None


@contextmanager
def open_source(source: str, config: SourceConfig) -> Iterator[Source]:
    """Open a dataset to import, by its folder or by its id.

    Raises:
        RecordingError: there is none, it is damaged, or has no pictures or no vectors of actions.
        WorldModelError: the package is missing.
    """
    data = find(source)
    if data is None:
        raise RecordingError(
            f"There is no Minari dataset '{source}': expected a folder with {METADATA}, or the id of one that was "
            f"downloaded (minari download {source})."
        )
    with reading(data, NAME):
        metadata = json.loads((data / METADATA).read_text(encoding="utf-8"))
        if metadata["data_format"] != "hdf5":
            raise RecordingError(
                f"The Minari dataset '{data}' is stored as '{metadata['data_format']}'; expected 'hdf5'."
            )
        count = int(metadata["total_episodes"])
    with hdf5_source(data / MAIN, NAME, lambda file: _source(file, metadata, count, data, config)) as opened:
        yield opened


def _source(file: Any, metadata: dict[str, Any], count: int, data: Path, config: SourceConfig) -> Source:
    missing = [index for index in range(count) if f"episode_{index}" not in file]
    if missing or not count:
        raise RecordingError(f"'{data / MAIN}' lacks episodes: {count} are stated, {missing} are missing.")
    episodes = [file[f"episode_{index}"] for index in range(count)]
    if OWN_KEY not in metadata:
        return _foreign(episodes, metadata, data, config)
    config.refuse_for(data)
    provenance = own_provenance(metadata[OWN_KEY], data / METADATA)
    return Source(provenance, [_own(group, index, provenance, data) for index, group in enumerate(episodes)])


def _own(group: Any, index: int, provenance: Provenance, data: Path) -> SourceEpisode:
    length = len(dataset(group, "rewards")) + 1

    def after(name: str) -> Reader:  # infos tell of the step before, rows of the block after
        return part(dataset(group, f"infos/{name}"), 1)

    columns = Columns(
        pictures={name: part(dataset(group, f"observations/{key}")) for name, key in picture_keys(provenance).items()},
        numbers={
            name: part(dataset(group, place))
            for name in NUMBERS
            if (place := f"{'infos' if name in INFOS else 'observations'}/{name}") in group
        },
        action=part(dataset(group, "actions")) if provenance.low else constant(np.zeros(0, np.float32)),
        step_reward=after("step_reward"),
        control_steps=after("control_steps"),
    )
    steps = int(dataset(group, "infos/control_steps")[:].sum())
    ending = Ending(int(group.attrs["ending"]))
    seed = int(group.attrs["seed"])
    return episode_of(columns, data, NAME, index=index, seed=seed, ending=ending, length=length, steps=steps)


def _foreign(episodes: list[Any], metadata: dict[str, Any], data: Path, config: SourceConfig) -> Source:
    minari = optional_package("minari", EXTRA)
    storage = minari.dataset.minari_storage
    dataset_id = str(metadata["dataset_id"])
    dataset_spaces = storage.MinariStorage.read(data)  # makes the environment, where the spaces are not told
    observation, action = dataset_spaces.observation_space, dataset_spaces.action_space
    boxes = dict(_boxes(observation, "observations"))
    cameras = {name: box.shape for name, box in boxes.items() if is_picture(box.shape, box.dtype)}
    if not cameras:
        told = {name.removeprefix("observations/"): box.shape for name, box in boxes.items()}
        raise RecordingError(
            f"The Minari dataset '{dataset_id}' has no pictures: its observations are {told}; expected one of "
            "[H, W, 3] uint8."
        )
    if not isinstance(action, spaces.Box) or len(action.shape) != 1:
        raise RecordingError(f"The Minari dataset '{dataset_id}' has the actions {action}; expected a Box of vectors.")
    seconds, notes = frame_seconds(config, None)
    provenance = foreign_provenance(
        f"minari:{dataset_id}",
        {_camera(name): shape for name, shape in cameras.items()},
        config,
        seconds=seconds,
        bounds=_bounds(action, episodes, data),
        files=[data / METADATA, data / MAIN],
    )
    packed = {name for name in cameras if dataset_spaces.jpeg_encoding and storage.is_image_space(boxes[name])}

    def episode(index: int, group: Any) -> SourceEpisode:
        count = len(dataset(group, "actions"))

        def picture(name: str) -> Reader:
            held = dataset(group, name)
            if len(held) != count + 1:
                raise RecordingError(
                    f"'{data}', episode {index}: {len(held)} observations for {count} actions; expected one more."
                )
            return _unpacked(part(held)) if name in packed else part(held)

        state = {name: place for name in STATE for place in _places(group, name, count + 1)}
        columns = foreign_columns(
            {_camera(name): picture(name) for name in cameras},
            {name: part(group[place]) for name, place in state.items()},
            part(group["actions"]),
            part(dataset(group, "rewards")),
            config=config,
            seconds=seconds,
        )
        ending = ending_of(
            terminated=bool(group["terminations"][count - 1 : count].any()),
            truncated=bool(group["truncations"][count - 1 : count].any()),
        )
        seed = group.attrs.get("seed")
        seed = max(0, int(seed)) if isinstance(seed, int | np.integer) else 0
        return episode_of(columns, data, NAME, index=index, seed=seed, ending=ending, length=count + 1, steps=count)

    return Source(provenance, [episode(index, group) for index, group in enumerate(episodes)], notes)


def _boxes(space: Any, path: str) -> Iterator[tuple[str, spaces.Box]]:
    """Yield every box of an observation, with its place in an episode's group."""
    if isinstance(space, spaces.Dict):
        for name, inner in space.spaces.items():
            yield from _boxes(inner, f"{path}/{name}")
    elif isinstance(space, spaces.Box):
        yield path, space


def _camera(place: str) -> str:
    return place.removeprefix("observations/").replace("/", ":") if "/" in place else "pixels"


def _places(group: Any, name: str, count: int) -> list[str]:
    """Return where an episode has a column of that name with a row for each frame."""
    places = [f"observations/{name}", f"infos/{name}"]
    return [
        place for place in places if place in group and group[place].shape[:1] == (count,) and group[place].ndim == 2
    ]


def _bounds(action: spaces.Box, episodes: list[Any], data: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the bounds that the space tells, else those of the data."""
    if np.isfinite(action.low).all() and np.isfinite(action.high).all():
        return widened(action.low, action.high)
    actions = (dataset(group, "actions") for group in episodes)
    read = (piece for column in actions for piece in in_pieces(part(column), len(column)))
    return bounds_of(f"'{data}'", action.shape[0], read)


def _unpacked(read: Reader) -> Reader:
    """Decode pictures that Minari packed as JPEG."""

    def unpack(start: int, stop: int) -> NDArray[np.uint8]:
        return np.stack([np.asarray(Image.open(io.BytesIO(bytes(row)))) for row in read(start, stop)])

    return unpack
