"""What is exchanged: episodes and where they come from, whatever the format that they are read from or written to."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worldmodel.config import read_dataclass
from worldmodel.datasets.formats.rows import finite
from worldmodel.datasets.manifest import Camera, Provenance, Software, command_line
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Ending, EpisodeStream, Segment
from worldmodel.datasets.shard import UNREADABLE
from worldmodel.errors import RecordingError, WorldModelError, unknown_name

FPS_WITHOUT_WORD = 20.0
OWN_KEY = "worldmodel"  # under which an export keeps what its format has no place for


@dataclass(frozen=True)
class SourceConfig:
    """How to read what others made.

    Attributes:
        height: bring pictures to this height and `width`, pixels: the largest middle part of that shape is cut out
            and resized. Left out, video is brought to 64 by 64, and datasets keep their size.
        width: see `height`.
        fps: frames per second, for a source that tells none; 20 are assumed when left out.
    """

    height: int | None = None
    width: int | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if value is not None and value < 8:
                raise WorldModelError(f"{name} is {value}; expected at least 8.")
        if (self.height is None) != (self.width is None):
            raise WorldModelError(f"height is {self.height}, width is {self.width}; expected both or neither.")
        if self.fps is not None and not 0 < self.fps < 10_000:
            raise WorldModelError(f"fps is {self.fps}; expected more than 0 and less than 10,000.")

    def refuse_for(self, path: Path) -> None:
        """Refuse options that change a recording of our own, which `path` restores."""
        if self != SourceConfig():
            raise WorldModelError(
                f"'{path}' was exported by worldmodel and is restored as it was: leave out --height, --width and "
                "--fps. For another size: worldmodel rerender"
            )


@dataclass(frozen=True)
class SourceEpisode:
    """One episode of a source, an `EpisodeStream`."""

    index: int
    seed: int
    ending: Ending
    length: int
    steps: int
    read: Callable[[], Iterator[Segment]]

    def segments(self) -> Iterator[Segment]:
        return self.read()


@dataclass(frozen=True)
class Source:
    """Episodes to import or to export.

    Attributes:
        provenance: where they come from.
        episodes: in their order.
        notes: what was assumed, for the user to read.
    """

    provenance: Provenance
    episodes: Sequence[EpisodeStream]
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        return sum(episode.length for episode in self.episodes)

    @classmethod
    def of(cls, recording: Recording, camera: str | None) -> Source:
        """Return the whole recording, or what one camera of it saw.

        Raises:
            WorldModelError: no camera has that name.
        """
        provenance = recording.provenance
        if camera is not None:
            chosen = tuple(one for one in provenance.cameras if one.name == camera)
            if not chosen:
                raise unknown_name("camera", camera, [one.name for one in provenance.cameras])
            provenance = replace(provenance, cameras=chosen)
        streams = [recording.stream(index) for index in range(recording.episodes)]
        return cls(provenance, [_with_pictures(stream, set(provenance.picture_shapes)) for stream in streams])

    def refuse_channels_but_rgb(self, format: str) -> None:
        """Refuse a recording with depth or segmentation, which `format` has no place for."""
        if self.provenance.channels != ("rgb",):
            raise WorldModelError(
                f"The recording has the channels {list(self.provenance.channels)}; {format} holds 'rgb' alone. Export "
                "to minari, robomimic or stable-worldmodel, which keep all, or leave the others out first: "
                "worldmodel rerender RECORDING --out OTHER --channels rgb"
            )


def _with_pictures(stream: EpisodeStream, names: set[str]) -> SourceEpisode:
    def read() -> Iterator[Segment]:
        for segment in stream.segments():
            kept = {name: picture for name, picture in segment.pictures.items() if name in names}
            yield replace(segment, pictures=kept)

    return SourceEpisode(stream.index, stream.seed, stream.ending, stream.length, stream.steps, read)


def own_text(provenance: Provenance) -> str:
    """Return what an export keeps, so that importing it restores the recording."""
    return json.dumps({"version": 1, "provenance": asdict(provenance)}, allow_nan=False)


def own_provenance(text: object, where: Path) -> Provenance:
    """Return the provenance that `own_text` told.

    Raises:
        RecordingError: it is damaged, or of a later version.
    """
    try:
        told = json.loads(text if isinstance(text, str | bytes) else str(text))
        if told["version"] != 1:
            raise ValueError(f"version is {told['version']}; this worldmodel reads version 1")
        return read_dataclass(Provenance, told["provenance"], "provenance")
    except (ValueError, KeyError, TypeError, RecordingError) as error:
        raise RecordingError(f"'{where}': what worldmodel wrote about the recording is damaged ({error}).") from error


def foreign_provenance(
    env: str,
    pictures: Mapping[str, tuple[int, ...]],
    config: SourceConfig,
    *,
    seconds: float,
    bounds: tuple[NDArray[Any], NDArray[Any]],
    files: Sequence[Path],
) -> Provenance:
    """Return the provenance of a data set that somebody else made, one action to a frame.

    Args:
        pictures: names of the cameras, and `(H, W, 3)` of each as the data set has it.
        seconds: time between two frames, s.
        bounds: lowest and highest action, `[A]` each.
        files: all that it lies in, in an order that does not change.

    Raises:
        WorldModelError: the cameras' pictures differ in size, and `config` does not bring them to one.
    """
    sizes = {name: shape[:2] for name, shape in pictures.items()}
    if config.height is None and len(set(sizes.values())) > 1:
        raise WorldModelError(
            f"The pictures of '{env}' differ in size: {sizes}. Bring them to one: --height H --width W"
        )
    height, width = next(iter(sizes.values()))
    return Provenance(
        env=env,
        env_arguments=_files_text(files),
        cameras=tuple(Camera(name) for name in pictures),
        channels=("rgb",),
        height=config.height or height,
        width=config.width or width,
        steps_per_frame=1,
        control_seconds=seconds,
        episode_frames=0,
        low=tuple(bounds[0].tolist()),
        high=tuple(bounds[1].tolist()),
        policy="",
        seed=0,
        compression="lz4",
        simulation=None,
        software=Software.here(),
        command=command_line(),
    )


def _files_text(files: Sequence[Path]) -> str:
    """Tell files from any others by their names and sizes, as a JSON object, whatever folder they are in."""
    sizes = [(path.name, path.stat().st_size) for path in files]
    sha256 = hashlib.sha256(json.dumps(sizes).encode()).hexdigest()
    return json.dumps({"files": len(sizes), "bytes": sum(size for _, size in sizes), "sha256": sha256})


def frame_seconds(config: SourceConfig, told: float | None) -> tuple[float, tuple[str, ...]]:
    """Return the time between two frames, s, and a note where it is assumed; `told` is the source's rate, 1/s."""
    fps = config.fps or told
    if fps:
        return 1 / fps, ()
    return 1 / FPS_WITHOUT_WORD, (
        f"The source tells no frame rate: {FPS_WITHOUT_WORD:g} frames per second assumed; --fps tells another.",
    )


def bounds_of(
    where: str, actuators: int, pieces: Iterable[NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and the highest action that occurs, `[A]` each; an actuator that never moves gets ± 1.

    Args:
        where: names the data in errors, which count the rows of all pieces.
        pieces: actions `[n, A]`, without padding.
    """
    low, high, row = np.full(actuators, np.inf), np.full(actuators, -np.inf), 0
    for piece in pieces:
        if len(piece):
            finite(where, "action", piece, row)
            row += len(piece)
            low, high = np.minimum(low, piece.min(axis=0)), np.maximum(high, piece.max(axis=0))
    if not np.isfinite(low).all():  # not one action
        low, high = np.zeros(actuators), np.zeros(actuators)
    return widened(low, high)


def widened(low: NDArray[Any], high: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bounds between which there is room: training divides by it."""
    still = low == high
    return np.where(still, low - 1.0, low), np.where(still, high + 1.0, high)


def is_picture(shape: tuple[int, ...], dtype: Any) -> bool:
    """Tell whether a row is a picture in RGB, `[H, W, 3]` uint8."""
    return len(shape) == 3 and shape[2] == 3 and dtype == np.uint8


def fit(frames: NDArray[np.uint8], config: SourceConfig) -> NDArray[np.uint8]:
    """Cut the largest middle part of the shape that is asked for from frames `[n, H, W, 3]`, and resize it."""
    if config.height is None or config.width is None or frames.shape[1:3] == (config.height, config.width):
        return frames
    height, width = config.height, config.width
    scale = max(height / frames.shape[1], width / frames.shape[2])
    tall, wide = min(frames.shape[1], round(height / scale)), min(frames.shape[2], round(width / scale))
    top, left = (frames.shape[1] - tall) // 2, (frames.shape[2] - wide) // 2
    parts = np.ascontiguousarray(frames[:, top : top + tall, left : left + wide])
    if parts.shape[1:3] == (height, width):
        return parts
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.stack([cv2.resize(part, (width, height), interpolation=way) for part in parts]).astype(np.uint8)


def optional_package(name: str, extra: str) -> Any:
    """Import a package that only some formats need.

    Raises:
        WorldModelError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise WorldModelError(
            f"The package '{name.split('.')[0]}' cannot be imported ({error}). Install what this format needs: "
            f"pip install 'worldmodel[{extra}]'"
        ) from error


@contextmanager
def reading(path: Path, format: str) -> Iterator[None]:
    """Turn what a library raises over a damaged or foreign file into a `RecordingError`."""
    try:
        yield
    except WorldModelError:
        raise
    except UNREADABLE as error:
        raise RecordingError(
            f"'{path}' cannot be read as {format}: it is damaged, incomplete or another format ({error!s:.300})."
        ) from error
