#!/usr/bin/env python
"""How fast random clips are read: against stable-worldmodel's HDF5 reader, and against a copy within memory.

    scripts/bench_load.py [--recording FOLDER]

One core, batches of 64 clips of 8 frames, lossless, files in the page cache; the best of some rounds that take turns.
The limit is a plain gather: the same clips copied out of one array in memory. The last line is one JSON object.
`clips_per_second` and `times_peer` are read from the disk, `share_of_gather` is with frames kept in memory, as Clips
does where they fit.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from bench_machine import machine
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from worldmodel.datasets.clips import Clips
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import RecordConfig, record

BATCH, LENGTH = 64, 8
READERS = Path(__file__).resolve().parents[1] / ".venv" / "readers"


@dataclass(frozen=True)
class Bench:
    """What to measure.

    Attributes:
        recording: folder of a recording; one of the reacher is made when left out.
        rounds: how often each is measured.
        seconds: how long a round lasts, s.
    """

    recording: Path | None = None
    rounds: int = 5
    seconds: float = 1.0


def ours(recording: Recording, *, in_memory: bool) -> Callable[[int], Any]:
    clips = Clips(recording, np.arange(recording.episodes), length=LENGTH, in_memory=in_memory)
    return lambda seed: clips.take(np.random.default_rng(seed).integers(len(clips), size=BATCH))


def gather(frames: NDArray[np.uint8], starts: NDArray[np.int64]) -> Callable[[int], Any]:
    """Return the fastest copy that NumPy has: whole frames, into an array that is there already."""
    out = np.empty((BATCH * LENGTH, *frames.shape[1:]), np.uint8)

    def take(seed: int) -> None:
        chosen = np.random.default_rng(seed).choice(starts, size=BATCH)
        np.take(frames, (chosen[:, None] + np.arange(LENGTH)).ravel(), axis=0, out=out, mode="clip")

    return take


def peer(recording: Recording, file: Path) -> Callable[[int], Any] | None:
    """Return the reader of stable-worldmodel, on the same frames in a file of its own writer; None if it is missing."""
    sys.path.append(str(READERS))
    found = importlib.util.find_spec("stable_worldmodel")
    if found is None or found.origin is None:
        return None
    root = Path(found.origin).parent
    for name in ("", ".data", ".data.formats"):  # their own imports want packages that reading does not need
        module = types.ModuleType(f"stable_worldmodel{name}")
        module.__path__ = [str(root / name[1:].replace(".", "/"))]
        sys.modules[module.__name__] = module
    hdf5 = importlib.import_module("stable_worldmodel.data.formats.hdf5")
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    with hdf5.HDF5Writer(file, mode="overwrite") as writer:
        for index in range(recording.episodes):
            episode = recording.episode(index)
            block = recording.provenance.steps_per_frame
            actions = np.append(episode.actions[::block], np.full((1, episode.actions.shape[1]), np.nan, np.float32), 0)
            writer.write_episode({"pixels": list(episode.frames), "action": list(actions)})
    dataset = hdf5.HDF5Dataset(path=file, num_steps=LENGTH)

    def take(seed: int) -> Any:
        items = [dataset[index] for index in np.random.default_rng(seed).integers(len(dataset), size=BATCH).tolist()]
        return torch.stack([item["pixels"] for item in items]), torch.stack([item["action"] for item in items])

    return take


def clips_per_second(take: Callable[[int], Any], seconds: float) -> float:
    batches, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        take(batches)
        batches += 1
    return batches * BATCH / spent


def measure(bench: Bench, recording: Recording, scratch: Path) -> dict[str, float]:
    frames = np.concatenate([recording.episode(index).frames for index in range(recording.episodes)])
    starts = np.concatenate([np.arange(a, b - LENGTH + 1) for a, b in zip(*bounds(recording), strict=True)])
    ways: dict[str, Callable[[int], Any] | None] = {
        "from the disk": ours(recording, in_memory=False),
        "in memory": ours(recording, in_memory=True),
        "plain gather": gather(frames, starts),
        "stable-worldmodel": peer(recording, scratch / "peer.h5"),
    }
    best = dict.fromkeys((name for name, take in ways.items() if take), 0.0)
    for take in filter(None, ways.values()):
        take(0)
    for _ in range(bench.rounds):
        for name in best:
            take = ways[name]
            assert take is not None
            best[name] = max(best[name], clips_per_second(take, bench.seconds))
    return best


def bounds(recording: Recording) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return recording.frame_start[:-1], recording.frame_start[1:]


def main(bench: Bench) -> None:
    scratch = Path(tempfile.mkdtemp(prefix="bench-load-"))
    try:
        folder = bench.recording or scratch / "recording"
        if bench.recording is None:
            record(RecordConfig(frames=20_000), folder)
        if hasattr(os, "sched_setaffinity"):  # not on macOS
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        with Recording.open(folder) as recording:
            best = measure(bench, recording, scratch)
            raw = recording.frames * recording.provenance.picture_bytes
            size = sum((folder / entry.file).stat().st_size for entry in recording.manifest.shards) / raw
            title = (
                f"Random clips of {LENGTH} frames, {recording.provenance.height} x {recording.provenance.width} pixels"
            )
    finally:
        shutil.rmtree(scratch)
    table = Table(title=f"{title}, one core")
    for column in ("", "clips/s", "of a plain gather"):
        table.add_column(column, justify="right" if column else "left")
    for name, rate in best.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / best['plain gather']:.3f}")
    console = Console()
    console.print(table)
    if "stable-worldmodel" not in best:
        console.print("stable-worldmodel is not installed: scripts/test installs it into .venv/readers.")
    console.print(f"On the disk: {size:.1%} of the raw frames, states and actions included.")
    console.print(machine(1, "h5py", "hdf5plugin", "lz4", "numpy"))
    slower = best.get("stable-worldmodel")
    print(
        json.dumps(
            {
                "clips_per_second": round(best["from the disk"]),
                "times_peer": round(best["from the disk"] / slower, 1) if slower else None,
                "share_of_gather": round(best["in memory"] / best["plain gather"], 3),
                "size_share": round(size, 4),
            }
        )
    )


if __name__ == "__main__":
    main(tyro.cli(Bench, description=__doc__))
