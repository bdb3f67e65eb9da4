"""stable-worldmodel's HDF5: one file of flat columns with a row for each frame, and `ep_len` and `ep_offset`.

The action in row t acts between frame t and the next one; in the last row of an episode it is NaN, as in the files
that stable-worldmodel writes itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import hdf5plugin
import numpy as np

from worldmodel.datasets.formats.hdf5 import (
    STATE,
    Hdf5Output,
    constant,
    dataset,
    ending_of,
    episode_of,
    foreign_columns,
    hdf5_source,
    in_pieces,
    part,
)
from worldmodel.datasets.formats.rows import NUMBERS, Blocks, Columns, Reader, numbers_of, picture_keys, pieces
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
from worldmodel.datasets.schema import Ending, EpisodeStream, Segment
from worldmodel.errors import RecordingError

NAME = "a stable-worldmodel HDF5 file"
NAN_FILLED = ("action", "step_reward")  # as stable-worldmodel fills the last row of an episode


def write(source: Source, out: Path, tick: Callable[[int], None]) -> None:
    """Write `source` into the new file `out`; `tick` is told of frames."""
    provenance, offset = source.provenance, 0
    keys = picture_keys(provenance)
    with Hdf5Output(out, hdf5plugin.LZ4(), 8) as output:
        output.attributes("/", {OWN_KEY: own_text(provenance)})
        lengths = np.array([episode.length for episode in source.episodes], np.int32)
        for name, values in (("ep_len", lengths), ("ep_offset", np.cumsum(lengths, dtype=np.int64) - lengths)):
            output.column(name, len(values), values)
            output.write(name, 0, values)
        for episode in source.episodes:
            for start, segment, blocks in pieces(episode, provenance.steps_per_frame):
                frames, acts = _frame_columns(segment, episode, start, keys), _block_columns(blocks)
                if offset == start == 0:
                    for name, rows in frames.items():
                        output.column(name, source.frames, rows)
                    for name, rows in acts.items():
                        output.column(name, source.frames, rows, fill=np.nan if name in NAN_FILLED else 0)
                for name, rows in frames.items():
                    output.write(name, offset + start, rows)
                for name, rows in acts.items():
                    output.write_blocks(name, offset, start, rows)
                tick(len(segment))
            offset += episode.length


def _frame_columns(segment: Segment, episode: EpisodeStream, start: int, keys: dict[str, str]) -> dict[str, Any]:
    number = np.arange(start, start + len(segment))
    last = number == episode.length - 1
    return {
        **{keys[name]: picture for name, picture in segment.pictures.items()},
        **numbers_of(segment),
        "ep_idx": np.full(len(segment), episode.index),
        "step_idx": number,
        "seed": np.full(len(segment), episode.seed),
        "terminated": last & (episode.ending == Ending.TERMINATED),
        "truncated": last & (episode.ending == Ending.TRUNCATED),
    }


def _block_columns(blocks: Blocks) -> dict[str, Any]:
    action = {"action": blocks.action} if blocks.action.shape[1] else {}
    return action | {
        "reward": blocks.reward,
        "step_reward": blocks.step_reward,
        "control_steps": blocks.control_steps,
    }


def open_source(path: Path, config: SourceConfig) -> AbstractContextManager[Source]:
    """Open the file `path` to import.

    Raises:
        RecordingError: it is no such file, is damaged, or has no pictures or actions.
    """
    return hdf5_source(path, NAME, lambda file: _source(file, path, config))


def _source(file: Any, path: Path, config: SourceConfig) -> Source:
    offsets, lengths = dataset(file, "ep_offset", np.integer)[:], dataset(file, "ep_len", np.integer)[:]
    spans = list(zip(offsets.tolist(), lengths.tolist(), strict=True))
    _check_lengths(path, file, spans)
    if OWN_KEY in file.attrs:
        config.refuse_for(path)
        return _own(file, own_provenance(file.attrs[OWN_KEY], path), spans, path)
    return _foreign(file, spans, path, config)


def _check_lengths(path: Path, file: Any, spans: list[tuple[int, int]]) -> None:
    names = [name for name in file if name not in ("ep_len", "ep_offset")]
    rows = {name: len(dataset(file, name)) for name in names}
    needed = max((offset + length for offset, length in spans), default=0)
    if not spans or min(min(offset, length - 1) for offset, length in spans) < 0 or needed > min(rows.values()):
        raise RecordingError(
            f"'{path}': ep_offset and ep_len speak of {needed} rows in {len(spans)} episodes; its columns have {rows}."
        )


def _own(file: Any, provenance: Provenance, spans: list[tuple[int, int]], path: Path) -> Source:
    keys = picture_keys(provenance)

    def episode(index: int, offset: int, length: int) -> SourceEpisode:
        def column(name: str) -> Reader:
            return part(dataset(file, name), offset)

        columns = Columns(
            pictures={name: column(key) for name, key in keys.items()},
            numbers={name: column(name) for name in NUMBERS if name in file},
            action=column("action") if provenance.low else constant(np.zeros(0, np.float32)),
            step_reward=column("step_reward"),
            control_steps=column("control_steps"),
        )
        steps = int(dataset(file, "control_steps")[offset : offset + length].sum())
        return _episode(file, index, offset, length, steps, columns, path)

    return Source(provenance, [episode(index, *span) for index, span in enumerate(spans)])


def _foreign(file: Any, spans: list[tuple[int, int]], path: Path, config: SourceConfig) -> Source:
    cameras = {name: file[name].shape[1:] for name in file if is_picture(file[name].shape[1:], file[name].dtype)}
    if not cameras:
        raise RecordingError(
            f"'{path}' has no pictures: expected a column 'pixels' [N, H, W, 3] uint8 in {list(file)}."
        )
    cameras = dict(sorted(cameras.items(), key=lambda item: item[0] != "pixels"))
    action = dataset(file, "action", np.floating)
    if action.ndim != 2:
        raise RecordingError(f"'{path}': column 'action' is {action.shape}; expected [N, A].")
    seconds, notes = frame_seconds(config, None)
    real = (piece for offset, length in spans for piece in in_pieces(part(action, offset), length - 1))
    bounds = bounds_of(f"'{path}'", action.shape[1], real)
    provenance = foreign_provenance(
        f"stable-worldmodel:{path.stem}", cameras, config, seconds=seconds, bounds=bounds, files=[path]
    )

    def episode(index: int, offset: int, length: int) -> SourceEpisode:
        columns = foreign_columns(
            {name: part(file[name], offset) for name in cameras},
            {name: part(file[name], offset) for name in STATE if name in file and file[name].ndim == 2},
            part(action, offset),
            part(file["reward"], offset) if "reward" in file else None,
            config=config,
            seconds=seconds,
        )
        return _episode(file, index, offset, length, length - 1, columns, path)

    return Source(provenance, [episode(index, *span) for index, span in enumerate(spans)], notes)


def _episode(
    file: Any, index: int, offset: int, length: int, steps: int, columns: Columns, path: Path
) -> SourceEpisode:
    def last(name: str) -> int:
        return int(file[name][offset + length - 1]) if name in file else 0

    ending = ending_of(terminated=bool(last("terminated")), truncated=bool(last("truncated")))
    seed = max(0, last("seed"))
    return episode_of(columns, path, NAME, index=index, seed=seed, ending=ending, length=length, steps=steps)
