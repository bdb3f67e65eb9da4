"""Write Minari datasets: `data/metadata.json` and `data/main_data.hdf5` with B + 1 observations and B actions.

One Minari step is one block of control steps. Pictures are kept raw (`jpeg_encoding` off), so nothing is lost. Those
numbers that nobody would take for an observation are infos.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldmodel.datasets.formats.hdf5 import STATE, Hdf5Output
from worldmodel.datasets.formats.rows import numbers_of, picture_keys, pieces
from worldmodel.datasets.formats.source import OWN_KEY, Source, optional_package, own_text
from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.schema import Ending, EpisodeStream, Segment
from worldmodel.errors import WorldModelError

EXTRA = "minari"
METADATA, MAIN = "metadata.json", "main_data.hdf5"
INFOS = ("time", "act", "extra", "visual")
PACKING = {"compression": "gzip", "compression_opts": 1}


def write(source: Source, out: Path, name: str, tick: Callable[[int], None]) -> None:
    """Write `source` into the new folder `out`; `tick` is told of frames.

    Args:
        name: the dataset's id, which Minari looks for as a folder of that name.

    Raises:
        WorldModelError: the name is no id for Minari, or the package is missing.
    """
    minari = optional_package("minari", EXTRA)
    try:
        minari.dataset.minari_dataset.parse_dataset_id(name)
    except ValueError as error:
        raise WorldModelError(
            f"'{name}' is no id of a Minari dataset, which is its folder's name; expected one such as 'reacher-v0'."
        ) from error
    data = out / "data"
    data.mkdir(parents=True)
    with Hdf5Output(data / MAIN, PACKING, 8) as output:
        for episode in source.episodes:
            _write_episode(output, episode, source.provenance, tick)
    first = next(iter(source.episodes[0].segments()))
    observations, action = _spaces(first, source.provenance)
    serialize = minari.serialization.serialize_space
    metadata = {
        "total_episodes": len(source.episodes),
        "total_steps": source.frames - len(source.episodes),
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "observation_space": serialize(observations),
        "action_space": serialize(action),
        "dataset_id": name,
        "minari_version": minari.__version__,
        "description": f"Recorded by worldmodel: {source.provenance.env}, {source.provenance.steps_per_frame} control "
        "steps to a frame.",
        OWN_KEY: own_text(source.provenance),
    }
    (data / METADATA).write_text(json.dumps(metadata), encoding="utf-8")


def _write_episode(
    output: Hdf5Output, episode: EpisodeStream, provenance: Provenance, tick: Callable[[int], None]
) -> None:
    group, count = f"episode_{episode.index}", episode.length - 1
    for start, segment, blocks in pieces(episode, provenance.steps_per_frame):
        last = np.arange(start - 1, start - 1 + len(segment)) == count - 1
        into: dict[str, NDArray[Any]] = {
            "actions": blocks.action,
            "rewards": blocks.reward,
            "terminations": last & (episode.ending == Ending.TERMINATED),
            "truncations": last & (episode.ending != Ending.TERMINATED),  # as Minari's collector does
        }
        numbers = numbers_of(segment)
        # infos[t + 1] is what step t returned, infos[0] what reset did
        infos = {name: rows for name, rows in numbers.items() if name in INFOS}
        infos |= {"step_reward": blocks.step_reward, "control_steps": blocks.control_steps}  # type: ignore[dict-item]
        frames = {f"observations/{name}": rows for name, rows in _observations(segment, provenance).items()}
        frames |= {f"infos/{name}": rows for name, rows in infos.items()}
        if start == 0:
            for name, rows in into.items():
                output.column(f"{group}/{name}", count, rows)
            for name, rows in frames.items():
                output.column(f"{group}/{name}", count + 1, rows)
        for name, rows in into.items():
            output.write_blocks(f"{group}/{name}", 0, start, rows)
        for name, rows in frames.items():
            output.write(f"{group}/{name}", start, rows)
        tick(len(segment))
    told = {"id": episode.index, "total_steps": count, "seed": episode.seed, "ending": int(episode.ending)}
    output.attributes(group, told)


def _observations(segment: Segment, provenance: Provenance) -> dict[str, NDArray[Any]]:
    keys = picture_keys(provenance)
    pictures: dict[str, NDArray[Any]] = {keys[name]: picture for name, picture in segment.pictures.items()}
    return pictures | {name: rows for name, rows in numbers_of(segment).items() if name in STATE}


def _spaces(segment: Segment, provenance: Provenance) -> tuple[spaces.Dict, spaces.Box]:
    """Return the spaces of observations and of actions, one block of control steps."""

    def space(rows: NDArray[Any]) -> spaces.Box:
        if np.issubdtype(rows.dtype, np.floating):
            return spaces.Box(-np.inf, np.inf, rows.shape[1:], rows.dtype.type)
        limits = np.iinfo(rows.dtype)
        return spaces.Box(limits.min, limits.max, rows.shape[1:], rows.dtype.type)

    observations = {name: space(rows) for name, rows in _observations(segment, provenance).items()}
    low, high = (
        np.tile(np.array(side, np.float32), provenance.steps_per_frame) for side in (provenance.low, provenance.high)
    )
    return spaces.Dict(observations), spaces.Box(low, high, dtype=np.float32)  # type: ignore[arg-type]
