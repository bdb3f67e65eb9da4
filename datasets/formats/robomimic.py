"""robomimic's HDF5: one file with a group `data/demo_<i>` for each episode, of B transitions with `obs` and `next_obs`.

An episode of F frames has B = F - 1 transitions; the last frame is the last row of `next_obs`. Frames are there twice,
as robomimic's own scripts write them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.formats.hdf5 import (
    STATE,
    Hdf5Output,
    dataset,
    episode_of,
    foreign_columns,
    hdf5_source,
    in_pieces,
    part,
)
from worldmodel.datasets.formats.rows import NUMBERS, Columns, Reader, numbers_of, pieces
from worldmodel.datasets.formats.source import (
    OWN_KEY,
    Source,
    SourceConfig,
    SourceEpisode,
    bounds_of,
    foreign_provenance,
    frame_seconds,
    is_picture,
    own_provenance,
    own_text,
)
from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.schema import Ending, EpisodeStream
from worldmodel.errors import RecordingError, WorldModelError

NAME = "a robomimic HDF5 file"
GYM = 2  # robomimic's number for environments of gym; to read the file needs no environment
SUFFIX = {"frames": "image", "depth": "depth", "segmentation": "segmentation"}


def write(source: Source, out: Path, tick: Callable[[int], None]) -> None:
    """Write `source` into the new file `out`; `tick` is told of frames.

    Raises:
        WorldModelError: an episode has one frame alone.
    """
    for episode in source.episodes:
        if episode.length < 2:
            raise WorldModelError(
                f"Episode {episode.index} has one frame; robomimic holds transitions, from a frame to the next one. "
                "Export to minari, lerobot or stable-worldmodel."
            )
    packing = {"compression": "gzip", "compression_opts": 1}  # the one good one that every HDF5 library reads
    with Hdf5Output(out, packing, 1) as output:
        for episode in source.episodes:
            _write_episode(output, episode, source.provenance, tick)
        env = {"env_name": source.provenance.env, "type": GYM, "env_kwargs": {}}
        total = source.frames - len(source.episodes)
        told = {"total": total, "env_args": json.dumps(env), OWN_KEY: own_text(source.provenance)}
        output.attributes("data", told)


def _write_episode(
    output: Hdf5Output, episode: EpisodeStream, provenance: Provenance, tick: Callable[[int], None]
) -> None:
    demo, count = f"data/demo_{episode.index}", episode.length - 1
    keys = _keys(provenance)
    for start, segment, blocks in pieces(episode, provenance.steps_per_frame):
        frames: dict[str, NDArray[Any]] = {keys[name]: picture for name, picture in segment.pictures.items()}
        frames |= numbers_of(segment)
        into: dict[str, NDArray[Any]] = {
            "actions": blocks.action,
            "rewards": blocks.reward,
            "dones": (np.arange(start - 1, start - 1 + len(segment)) == count - 1).astype(np.int64),
            "step_rewards": blocks.step_reward,
            "control_steps": blocks.control_steps,
        }
        states = np.concatenate([segment.time[:, None], segment.qpos, segment.qvel], axis=1)
        if start == 0:
            for name, rows in into.items():
                output.column(f"{demo}/{name}", count, rows)
            output.column(f"{demo}/states", count, states)
            for name, rows in frames.items():
                output.column(f"{demo}/obs/{name}", count, rows)
                output.column(f"{demo}/next_obs/{name}", count, rows)
        for name, rows in into.items():
            output.write_blocks(f"{demo}/{name}", 0, start, rows)
        output.write(f"{demo}/states", start, states[: count - start])
        for name, rows in frames.items():
            output.write(f"{demo}/obs/{name}", start, rows[: count - start])
            output.write_blocks(f"{demo}/next_obs/{name}", 0, start, rows)
        tick(len(segment))
    output.attributes(demo, {"num_samples": count, "seed": episode.seed, "ending": int(episode.ending)})


def _keys(provenance: Provenance) -> dict[str, str]:
    """Return the name that each column of pictures has in `obs`: pictures end in "image"."""
    groups = {column: column.split("/", 1) for column in provenance.picture_shapes}
    return {column: f"{camera}_{SUFFIX[group]}" for column, (group, camera) in groups.items()}


def open_source(path: Path, config: SourceConfig) -> AbstractContextManager[Source]:
    """Open the file `path` to import.

    Raises:
        RecordingError: it is no such file, is damaged, or has no pictures or actions.
    """
    return hdf5_source(path, NAME, lambda file: _source(file, path, config))


def _source(file: Any, path: Path, config: SourceConfig) -> Source:
    data = file.get("data")
    names = sorted(_demos(data), key=lambda name: int(name.removeprefix("demo_")))
    if not names:
        raise RecordingError(f"'{path}' is not {NAME}: it has no group data/demo_0.")
    demos = [data[name] for name in names]
    if OWN_KEY in data.attrs:
        config.refuse_for(path)
        provenance = own_provenance(data.attrs[OWN_KEY], path)
        return Source(provenance, [_own(demo, index, provenance, path) for index, demo in enumerate(demos)])
    return _foreign(demos, data, path, config)


def _demos(data: Any) -> list[str]:
    if not isinstance(data, h5py.Group):
        return []
    return [name for name in data if re.fullmatch(r"demo_\d+", name) and isinstance(data[name], h5py.Group)]


def _frames(demo: Any, name: str) -> Reader:
    """Read an observation at all F frames: B in `obs`, the last one in `next_obs`."""
    before, after = dataset(demo, f"obs/{name}"), dataset(demo, f"next_obs/{name}")

    def read(start: int, stop: int) -> NDArray[Any]:
        rows: NDArray[Any] = before[start:stop]
        return rows if stop <= len(before) else np.concatenate([rows, after[-1:]])

    return read


def _own(demo: Any, index: int, provenance: Provenance, path: Path) -> SourceEpisode:
    length = len(dataset(demo, "actions")) + 1
    columns = Columns(
        pictures={name: _frames(demo, key) for name, key in _keys(provenance).items()},
        numbers={name: _frames(demo, name) for name in NUMBERS if name in demo["obs"]},
        action=part(dataset(demo, "actions")),
        step_reward=part(dataset(demo, "step_rewards")),
        control_steps=part(dataset(demo, "control_steps")),
    )
    steps = int(dataset(demo, "control_steps")[:].sum())
    ending = Ending(int(demo.attrs["ending"]))
    seed = int(demo.attrs["seed"])
    return episode_of(columns, path, NAME, index=index, seed=seed, ending=ending, length=length, steps=steps)


def _foreign(demos: list[Any], data: Any, path: Path, config: SourceConfig) -> Source:
    first = demos[0]
    observations = first.get("obs", {})
    cameras = {
        name: column.shape[1:] for name, column in observations.items() if is_picture(column.shape[1:], column.dtype)
    }
    if not cameras:
        raise RecordingError(
            f"'{path}' has no pictures: expected one of {NAME.split()[1]}'s observations {list(observations)} to be "
            "[B, H, W, 3] uint8. robomimic's dataset_states_to_obs.py adds them: --camera_names NAME."
        )
    actuators = dataset(first, "actions", np.floating).shape[1]
    seconds, notes = frame_seconds(config, _control_freq(data))
    actions = (piece for demo in demos for piece in in_pieces(part(demo["actions"]), len(demo["actions"])))
    bounds = bounds_of(f"'{path}'", actuators, actions)
    provenance = foreign_provenance(
        f"robomimic:{path.stem}", cameras, config, seconds=seconds, bounds=bounds, files=[path]
    )

    def episode(index: int, demo: Any) -> SourceEpisode:
        whole = "next_obs" in demo  # without it nothing shows what the last action led to
        count = len(dataset(demo, "actions", np.floating))
        length = count + 1 if whole else count

        def column(name: str) -> Reader:
            return _frames(demo, name) if whole else part(dataset(demo, f"obs/{name}"))

        columns = foreign_columns(
            {name: column(name) for name in cameras},
            {name: column(name) for name in STATE if name in demo["obs"]},
            part(demo["actions"]),
            part(demo["rewards"]) if "rewards" in demo else None,
            config=config,
            seconds=seconds,
        )
        return episode_of(
            columns, path, NAME, index=index, seed=0, ending=Ending.LIMIT, length=length, steps=length - 1
        )

    return Source(provenance, [episode(index, demo) for index, demo in enumerate(demos)], notes)


def _control_freq(data: Any) -> float | None:
    """Return the control rate that robosuite's environments tell, 1/s."""
    try:
        freq = json.loads(data.attrs["env_args"])["env_kwargs"]["control_freq"]
    except (KeyError, TypeError, ValueError):
        return None
    return float(freq) if isinstance(freq, int | float) and freq > 0 else None
