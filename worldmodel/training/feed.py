"""Bring batches to the device: from what it holds itself, or while the one before is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.clips import ClipBatch, Clips, Columns
from worldmodel.objectives.objective import ClipTensors
from worldmodel.training.device import Compute
from worldmodel.training.processes import Processes

GPU_SHARE = 0.25  # of a GPU's free memory, for what clips are cut from


def feed(
    clips: Clips, size: int, *, seed: int, first: int, compute: Compute, processes: Processes
) -> Iterator[ClipTensors]:
    """Yield random batches without end, as tensors on a device; each process gets its part of them.

    A GPU that replays steps, and has room for all that clips are cut from, takes it once and cuts them itself.
    Otherwise bytes travel there one batch ahead of the step; floats are made there. On a GPU all batches come to
    the same place, one after another, so that steps can be replayed: a batch holds until the next.

    Args:
        size: clips in a batch, over all processes.
        seed: decides the batches.
        first: number of the first batch.
        compute: the device.
    """
    device = compute.device
    rank, ranks = processes.rank, processes.count
    columns = clips.columns if device.type == "cuda" and compute.replays else None
    if columns is not None and _fits(columns, device):
        numbers = (clips.draw(number, size, seed=seed, rank=rank, ranks=ranks) for number in count(first))
        return _in_place(_cut(clips, columns, numbers, device))
    batches = clips.batches(size, seed=seed, first=first, rank=rank, ranks=ranks)
    if device.type == "cuda":
        return _in_place(_brought(batches, device))
    return (ClipTensors(*(_tensor(x).to(device) for x in (b.frames, b.actions, b.felt))) for b in batches)


def _fits(columns: Columns, device: torch.device) -> bool:
    torch.cuda.empty_cache()  # what stages before have used is free, too
    free, _ = torch.cuda.mem_get_info(device)
    return sum(x.nbytes for x in (columns.frames, columns.actions, columns.felt)) <= GPU_SHARE * free


def _cut(
    clips: Clips, columns: Columns, numbers: Iterable[NDArray[np.int64]], device: torch.device
) -> Iterator[ClipTensors]:
    """Cut clips from what the device holds."""
    frames, actions, felt = (_tensor(x).to(device) for x in (columns.frames, columns.actions, columns.felt))
    for chosen in numbers:
        where, when = (_tensor(rows).to(device, non_blocking=True) for rows in clips.rows(chosen))
        yield ClipTensors(frames[where], actions[when], felt[where])


def _brought(batches: Iterable[ClipBatch], device: torch.device) -> Iterator[ClipTensors]:
    """Bring batches there from pinned memory, on a stream of their own, one ahead."""
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    ahead: tuple[ClipTensors, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(stream):
            copied = ClipTensors(
                *(
                    _tensor(x).pin_memory().to(device, non_blocking=True)
                    for x in (batch.frames, batch.actions, batch.felt)
                )
            )
            arrived = stream.record_event()
        if ahead:
            yield _wait(*ahead, device)
        ahead = copied, arrived
    if ahead:
        yield _wait(*ahead, device)


def _wait(clips: ClipTensors, arrived: torch.cuda.Event, device: torch.device) -> ClipTensors:
    """Let the step's stream wait for the copy, and keep the memory until the step is done with it."""
    current = torch.cuda.current_stream(device)
    current.wait_event(arrived)
    for tensor in (clips.frames, clips.actions, clips.felt):
        if tensor is not None:
            tensor.record_stream(current)
    return clips


def _in_place(batches: Iterator[ClipTensors]) -> Iterator[ClipTensors]:
    """Put each batch where the first one is."""
    place = next(batches)
    yield place
    for clips in batches:
        place.frames.copy_(clips.frames)
        place.actions.copy_(clips.actions)
        if place.felt is not None and clips.felt is not None:
            place.felt.copy_(clips.felt)
        yield place


def _tensor(array: NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(array)
