"""Find a run's model, and the recording that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.manifest import Manifest
from worldmodel.datasets.reader import Recording
from worldmodel.errors import RecordingError, WorldModelError
from worldmodel.evaluation.latents import split_of
from worldmodel.models.interface import Interface
from worldmodel.models.world_model import WorldModel
from worldmodel.training.checkpoint import load_model
from worldmodel.training.config import TrainConfig, read_train_config
from worldmodel.training.device import Compute


@dataclass(frozen=True)
class Trained:
    """A finished run with what belongs to it.

    Attributes:
        folder: of the run.
        config: that it was trained with.
        held_out: numbers of the episodes that it has never seen.
    """

    folder: Path
    config: TrainConfig
    model: WorldModel
    recording: Recording
    held_out: NDArray[np.int64]
    compute: Compute

    def __enter__(self) -> Trained:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.recording.close()


def open_trained(run: Path, recording: Path | None, compute: Compute) -> Trained:
    """Load a finished run's model and open its recording.

    Args:
        recording: folder; searched for when left out: see `find_recording`.

    Raises:
        WorldModelError: the run is not finished, or the recording is missing or another one.
    """
    config = read_train_config(run)
    model = load_model(run, compute.device)
    opened = Recording.open(recording or find_recording(run, model.interface))
    try:
        split = split_of(run, model, opened)
    except WorldModelError:
        opened.close()
        raise
    return Trained(run, config, model, split.recording, split.held_out, compute)


def find_recording(run: Path, interface: Interface) -> Path:
    """Return the folder of the recording that a run was trained on, where such a one usually is.

    That is beside the run, in a folder `recordings` there or one floor up, or in `recordings` of the working
    directory; it is known by its fingerprint.

    Raises:
        RecordingError: it is nowhere there; lists where it was looked for.
    """
    places = _places(run)
    for place in places:
        for folder in _candidates(place):
            try:
                fits = Recording(folder, Manifest.read(folder)).fingerprint == interface.recording
            except WorldModelError:
                continue
            if fits:
                return folder
    raise RecordingError(
        f"The recording of {interface.env} that '{run}' was trained on is not in {', '.join(map(str, places))}. "
        "Give its folder after the run's."
    )


def _places(run: Path) -> list[Path]:
    beside = run.resolve().parent
    return list(
        dict.fromkeys([beside, beside / "recordings", beside.parent / "recordings", Path("recordings").resolve()])
    )


def _candidates(place: Path) -> Iterator[Path]:
    return (manifest.parent for manifest in sorted(place.glob("*/manifest.json")))
