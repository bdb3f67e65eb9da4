"""What a recording is: a folder with `manifest.json` and shards in HDF5.

A shard holds whole episodes as flat columns, one episode after another. An episode of F frames has T
control steps; frame 0 shows the start, and every `steps_per_frame` control steps there is another frame.

    frames/<camera>      [N, H, W, 3]  uint8    RGB, first row at the top
    frame_step           [N]           int64    control steps of its episode before this frame
    qpos, qvel, act      [N, ...]      float64  physics state that the frame shows
    time                 [N]           float64  simulated time, s
    actions              [M, A]        float32  action of every control step
    reward               [M]           float64
    episode/index        [E]           int64    number of the episode in the recording
    episode/seed         [E]           uint64   entropy of its random numbers, with `index`
    episode/frame_start  [E + 1]       int64    rows of an episode: frame_start[e] to frame_start[e + 1]
    episode/action_start [E + 1]       int64    the same for `actions` and `reward`
    episode/ending       [E]           uint8    an `Ending`
"""

from __future__ import annotations

import enum
import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np
from numpy.typing import NDArray

from worldmodel.errors import RecordingError

FORMAT = "worldmodel-recording"
VERSION = 1
MANIFEST = "manifest.json"
FRAMES_PER_CHUNK = 8


class Ending(enum.IntEnum):
    """How an episode ended: the recorder's limit, or the environment's own word."""

    LIMIT = 0
    TERMINATED = 1
    TRUNCATED = 2


@dataclass(frozen=True)
class Episode:
    """One whole episode: F frames, T control steps.

    Attributes:
        index: number of the episode in the recording.
        seed: the recording's seed; with `index` it repeats the episode.
        ending: how it ended.
        frames: `[F, H, W, 3]` uint8.
        frame_step: `[F]` int64, control steps before each frame.
        qpos, qvel, act: physics state at each frame, `[F, ...]` float64.
        time: `[F]` float64, s.
        actions: `[T, A]` float32.
        reward: `[T]` float64.
    """

    index: int
    seed: int
    ending: Ending
    frames: NDArray[np.uint8]
    frame_step: NDArray[np.int64]
    qpos: NDArray[np.float64]
    qvel: NDArray[np.float64]
    act: NDArray[np.float64]
    time: NDArray[np.float64]
    actions: NDArray[np.float32]
    reward: NDArray[np.float64]

    def __post_init__(self) -> None:
        rows, steps = len(self.frames), len(self.actions)
        for name in ("frame_step", "qpos", "qvel", "act", "time"):
            if len(getattr(self, name)) != rows:
                raise RecordingError(
                    f"Episode {self.index}: column '{name}' has {len(getattr(self, name))} rows; expected {rows}."
                )
        if len(self.reward) != steps:
            raise RecordingError(f"Episode {self.index}: {len(self.reward)} rewards for {steps} actions.")
        for name in ("qpos", "qvel", "act", "time", "actions", "reward"):
            if not np.isfinite(getattr(self, name)).all():
                raise RecordingError(
                    f"Episode {self.index}: column '{name}' holds a non-finite number: the simulation diverged. "
                    "Use a smaller time step or gentler actions."
                )


@dataclass(frozen=True)
class Provenance:
    """Where a recording comes from, enough to make it again.

    Attributes:
        env: name of the environment.
        camera: camera that filmed; "" is MuJoCo's free camera.
        height, width: size of a frame, pixels.
        quality: "fast" or "faithful".
        gl_renderer: what drew, as OpenGL names it.
        steps_per_frame: control steps between two frames.
        control_seconds: time between two control steps, s.
        episode_frames: frames of an episode that nothing ended early.
        low, high: actuator bounds.
        policy: name of the policy that acted.
        seed: seed of the whole recording.
        mjcf: the model's source; `mjcf_sha256` its hash, by which models are compared.
        worldmodel, mujoco, gymnasium, python: versions.
    """

    env: str
    camera: str
    height: int
    width: int
    quality: Literal["fast", "faithful"]
    gl_renderer: str
    steps_per_frame: int
    control_seconds: float
    episode_frames: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    policy: str
    seed: int
    mjcf: str
    mjcf_sha256: str
    worldmodel: str
    mujoco: str
    gymnasium: str
    python: str

    @property
    def camera_key(self) -> str:
        """The camera's name as a column's name."""
        return self.camera or "free"


def versions() -> dict[str, str]:
    """Return the versions that `Provenance` keeps."""
    names = ("worldmodel", "mujoco", "gymnasium")
    return {name: metadata.version(name) for name in names} | {"python": platform.python_version()}


@dataclass(frozen=True)
class ShardEntry:
    """A finished shard as the manifest lists it."""

    file: str
    sha256: str
    episodes: int
    frames: int
    actions: int


@dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`.

    Attributes:
        provenance: where the recording comes from.
        shards: the finished shards, in the order of their episodes.
        seconds: wall-clock time spent recording, s.
    """

    provenance: Provenance
    shards: tuple[ShardEntry, ...]
    seconds: float

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of the recording in `folder`.

        Raises:
            RecordingError: there is none, it is another format or version, or it is damaged.
        """
        path = folder / MANIFEST
        if not path.is_file():
            what = "is a file" if folder.is_file() else "does not exist" if not folder.exists() else "holds none"
            raise RecordingError(
                f"No recording at '{folder}': expected a folder with {MANIFEST}, but it {what}. "
                "Make one with: worldmodel record --out FOLDER"
            )
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecordingError(f"'{path}' cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise RecordingError(f"'{path}' is damaged: it is not JSON ({error}).") from error
        held = raw.get("format") if isinstance(raw, dict) else None
        if held != FORMAT:
            raise RecordingError(f"'{path}' is not a {FORMAT}: its format is {held!r}.")
        if raw.get("version") != VERSION:
            raise RecordingError(
                f"'{path}' has format version {raw.get('version')!r}; this worldmodel reads version {VERSION}."
            )
        try:
            return cls._parse(raw)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise RecordingError(
                f"'{path}' is damaged: a field is missing, unknown or of another type ({error})."
            ) from error

    @classmethod
    def _parse(cls, raw: dict[str, Any]) -> Manifest:
        fields = dict(raw["provenance"])
        fields["low"], fields["high"] = tuple(map(float, fields["low"])), tuple(map(float, fields["high"]))
        shards = tuple(ShardEntry(**entry) for entry in raw["shards"])
        for entry in shards:
            _check_types(entry)
            if Path(entry.file).name != entry.file:
                raise ValueError(f"shard file '{entry.file}' must be a plain name")
        provenance = Provenance(**fields)
        _check_types(provenance)
        for name in ("height", "width", "steps_per_frame", "episode_frames"):
            if getattr(provenance, name) < 1:
                raise ValueError(f"{name} is {getattr(provenance, name)}; expected 1 or more")
        return cls(provenance, shards, float(raw["seconds"]))


def _check_types(record: Provenance | ShardEntry) -> None:
    """Refuse a number or text of another type than its field's."""
    for name, hint in get_type_hints(type(record)).items():
        value = getattr(record, name)
        if hint in (int, float, str) and type(value) is not hint and not (hint is float and type(value) is int):
            raise TypeError(f"{name} is {value!r}; expected {hint.__name__}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
