"""`manifest.json`: where a recording comes from, and the shards it has."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from worldmodel.config import read_dataclass
from worldmodel.datasets.schema import FORMAT, VERSION, picture_column
from worldmodel.envs.channels import CHANNELS, Channel
from worldmodel.errors import RecordingError

MANIFEST = "manifest.json"
Compression = Literal["lz4", "gzip"]


@dataclass(frozen=True)
class Camera:
    """Who filmed, and from where when the recording began.

    Attributes:
        name: its name in the model; "" is the environment's free camera.
        position: m, world frame.
        forward, up: unit vectors, world frame.
        fovy: vertical field of view, degrees; 0 where the camera is orthographic or not known.
    """

    name: str
    position: tuple[float, ...] = ()
    forward: tuple[float, ...] = ()
    up: tuple[float, ...] = ()
    fovy: float = 0.0


@dataclass(frozen=True)
class Simulation:
    """What was simulated and how it was drawn.

    Attributes:
        mjcf: the model's source, where it is known.
        model_sha256: hash of the compiled model, by which models are compared.
        timestep: one physics step, s.
        quality: "fast" or "faithful".
        gl_renderer: what drew, as OpenGL names it.
    """

    mjcf: str
    model_sha256: str
    timestep: float
    quality: Literal["fast", "faithful"]
    gl_renderer: str


@dataclass(frozen=True)
class Software:
    """Versions of what recorded; `worldmodel_commit` is "" outside a git checkout."""

    worldmodel: str
    worldmodel_commit: str
    mujoco: str
    gymnasium: str
    python: str

    @classmethod
    def here(cls) -> Software:
        """Return the versions in this process."""
        return cls(
            worldmodel=metadata.version("worldmodel"),
            worldmodel_commit=_commit(),
            mujoco=metadata.version("mujoco"),
            gymnasium=metadata.version("gymnasium"),
            python=platform.python_version(),
        )


@dataclass(frozen=True)
class Provenance:
    """Where a recording comes from, enough to make it again.

    Attributes:
        env: name of the environment, or what the recording was imported from.
        env_arguments: the environment's arguments, a JSON object; of what others made, which files it was read from:
            their number, their bytes, and a hash of their names and sizes.
        cameras: who filmed; the first is the main one.
        channels: what each camera recorded.
        height, width: size of a frame, pixels.
        steps_per_frame: control steps between two frames.
        control_seconds: time between two control steps, s.
        episode_frames: frames of an episode that nothing ended early; 0 where there is no such limit.
        low, high: actuator bounds.
        policy: name of the policy that acted; "" where it is not known.
        seed: seed of the whole recording.
        compression: of the shards.
        simulation: what was simulated; None for video that MuJoCo did not draw.
        software: versions.
        command: the command line.
    """

    env: str
    env_arguments: str
    cameras: tuple[Camera, ...]
    channels: tuple[Channel, ...]
    height: int
    width: int
    steps_per_frame: int
    control_seconds: float
    episode_frames: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    policy: str
    seed: int
    compression: Compression
    simulation: Simulation | None
    software: Software
    command: str

    def __post_init__(self) -> None:
        for name, least in (("height", 1), ("width", 1), ("steps_per_frame", 1), ("episode_frames", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise RecordingError(f"{name} is {getattr(self, name)}; expected {least} or more.")
        if not (math.isfinite(self.control_seconds) and self.control_seconds > 0):
            raise RecordingError(f"control_seconds is {self.control_seconds}; expected more than 0.")
        if len(self.low) != len(self.high) or not all(map(math.isfinite, (*self.low, *self.high))):
            raise RecordingError(
                f"Actuator bounds are {self.low} and {self.high}; expected as many finite numbers in each."
            )
        if not self.cameras or not self.channels or self.channels[0] != "rgb":
            raise RecordingError(
                f"Cameras are {[camera.name for camera in self.cameras]}, channels {list(self.channels)}; expected at "
                "least one camera, and 'rgb' as the first channel."
            )
        if len(self.picture_shapes) != len(self.cameras) * len(self.channels):
            names = [camera.name for camera in self.cameras]
            raise RecordingError(f"Cameras {names} or channels {list(self.channels)} are not distinct.")

    @property
    def camera(self) -> str:
        """Name of the main camera."""
        return self.cameras[0].name

    @property
    def picture_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every column of pictures, and the shape of one picture in it."""
        return {
            picture_column(channel, camera.name): CHANNELS[channel].shape(self.height, self.width)
            for channel in self.channels
            for camera in self.cameras
        }

    @property
    def picture_bytes(self) -> int:
        """Bytes of what all cameras record at one moment, before compression."""
        bytes_per_pixel = sum(
            math.prod(CHANNELS[channel].values) * CHANNELS[channel].dtype(0).nbytes for channel in self.channels
        )
        return len(self.cameras) * self.height * self.width * bytes_per_pixel


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
        format, version: tell a recording from anything else.
        provenance: where the recording comes from.
        shards: the finished shards, in the order of their episodes.
        seconds: wall-clock time spent recording, s.
    """

    format: str
    version: int
    provenance: Provenance
    shards: tuple[ShardEntry, ...]
    seconds: float

    @classmethod
    def new(cls, provenance: Provenance) -> Manifest:
        """Return the manifest of a recording that has no shard yet."""
        return cls(FORMAT, VERSION, provenance, (), 0.0)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, allow_nan=False)

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
            raw = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
        except OSError as error:
            raise RecordingError(f"'{path}' cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise RecordingError(f"'{path}' is damaged: it is not JSON ({error}).") from error
        held = raw.get("format") if isinstance(raw, dict) else None
        if held != FORMAT:
            raise RecordingError(f"'{path}' is not a {FORMAT}: its format is {held!r}.")
        if raw.get("version") != VERSION:
            raise RecordingError(
                f"'{path}' has format version {raw.get('version')!r}; this worldmodel reads version {VERSION}. "
                "Record it again, or use the version of worldmodel that made it."
            )
        try:
            manifest = read_dataclass(cls, raw, "manifest")
            for entry in manifest.shards:
                plain = entry.file not in ("", "..") and Path(entry.file).name == entry.file
                if not plain or min(entry.episodes, entry.frames, entry.actions + 1) < 1:
                    raise ValueError(f"shard {entry} must be a plain file name with positive counts")
            if not math.isfinite(manifest.seconds):
                raise ValueError(f"seconds is {manifest.seconds}; expected a finite number")
        except (ValueError, OverflowError, RecordingError, RecursionError) as error:
            raise RecordingError(
                f"'{path}' is damaged: a field is missing, unknown or of another type ({error})."
            ) from error
        return manifest


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError(f"a field comes twice among {[name for name, _ in pairs]}")
    return fields


def command_line() -> str:
    """Return the command that runs, as typed but for the program's folder."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _commit() -> str:
    """Return the commit that worldmodel's own code is at, "" where git does not know it."""
    here = Path(__file__).resolve()

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(here.parent), *arguments], capture_output=True, text=True, check=False)

    try:
        tracked, commit = git("ls-files", "--error-unmatch", here.name), git("rev-parse", "HEAD")
    except OSError:
        return ""
    return commit.stdout.strip() if tracked.returncode == 0 == commit.returncode else ""
