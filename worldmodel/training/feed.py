"""Bring batches to the device while the one before is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.clips import ClipBatch
from worldmodel.objectives.objective import ClipTensors


def on_device(batches: Iterable[ClipBatch], device: torch.device) -> Iterator[ClipTensors]:
    """Yield each batch as tensors on `device`.

    To a GPU, bytes travel from pinned memory on a stream of their own, one batch ahead of the step; floats are
    made of them there.
    """
    if device.type != "cuda":
        for batch in batches:
            yield ClipTensors(*(_tensor(x).to(device) for x in (batch.frames, batch.actions, batch.felt)))
        return
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


def _tensor(array: NDArray[np.uint8] | NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(array)
