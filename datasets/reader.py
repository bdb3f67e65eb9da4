"""Open a recording and read from it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldmodel.datasets.chunks import read_clips
from worldmodel.datasets.manifest import Manifest, Provenance, ShardEntry
from worldmodel.datasets.schema import Episode, picture_column
from worldmodel.datasets.shard import Shard, StoredEpisode
from worldmodel.datasets.simulated import recorded_model
from worldmodel.envs.proprioception import Proprioception, proprioception_of
from worldmodel.errors import RecordingError, WorldModelError, unknown_name


class Recording:
    """A finished recording: an index in memory, its frames on the disk.

    Files are opened when first read, anew in every process, so a recording may be handed to workers.

    A frame is what the main camera saw, unless others are chosen with `seen_by`.

    Attributes:
        folder: where it is.
        manifest: what it says of itself.
        cameras: names of those whose views make a frame.
        proprioception: reads what the robot feels out of states; nothing, unless `with_proprioception` was asked for.
        frame_start: `[E + 1]` int64, rows of each episode among all frames.
        action_start: `[E + 1]` int64, the same among all actions.
        whole_frames: `[E]` int64, frames of each episode that are `steps_per_frame` control steps apart;
            less by one than all its frames where the world ended it in between.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.cameras: tuple[str, ...] = (manifest.provenance.camera,)
        self.proprioception = Proprioception()
        self._shards = [Shard.of(folder / entry.file, manifest.provenance) for entry in manifest.shards]
        frame_starts, action_starts = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
        whole: list[NDArray[np.int64]] = []
        for shard, entry in zip(self._shards, manifest.shards, strict=True):
            check_shard(shard, entry, manifest.provenance, first=sum(map(len, whole)))
            frame_start, action_start = shard.episode_column("frame_start"), shard.episode_column("action_start")
            frame_starts.append(frame_start[1:] + frame_starts[-1][-1])
            action_starts.append(action_start[1:] + action_starts[-1][-1])
            whole.append(np.diff(action_start) // manifest.provenance.steps_per_frame + 1)
        self.frame_start = np.concatenate(frame_starts)
        self.action_start = np.concatenate(action_starts)
        self.whole_frames = np.concatenate(whole) if whole else np.zeros(0, np.int64)
        self._shard_frames = np.cumsum([0, *(entry.frames for entry in manifest.shards)])
        self._shard_actions = np.cumsum([0, *(entry.actions for entry in manifest.shards)])
        self._shard_episodes = np.cumsum([0, *(entry.episodes for entry in manifest.shards)])

    @classmethod
    def open(cls, folder: str | Path) -> Recording:
        """Open the recording in `folder`.

        Raises:
            RecordingError: there is none, it is foreign or damaged, or it has no finished episode yet.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder)
        if not manifest.shards:
            raise RecordingError(
                f"The recording '{folder}' has no finished episode yet. Continue it with: "
                f"worldmodel record --out {folder} --resume"
            )
        return cls(folder, manifest)

    def seen_by(self, cameras: Sequence[str]) -> Recording:
        """Return this recording as `cameras` saw it: their views, side by side, make a frame.

        It shares its files with this one: who closes one closes both.

        Args:
            cameras: names, the leftmost view first; none keeps those of this one.

        Raises:
            WorldModelError: no camera has that name, or one is named twice; lists those there are.
        """
        held = [camera.name for camera in self.provenance.cameras]
        for name in cameras:
            if name not in held:
                raise unknown_name("camera", name, [name or '"" (the free camera)' for name in held])
            if list(cameras).count(name) > 1:
                raise WorldModelError(f"Camera '{name}' is named twice; expected each once.")
        seen = copy.copy(self)
        seen.cameras = tuple(cameras) or self.cameras
        return seen

    def with_proprioception(self) -> Recording:
        """Return this recording with what the robot felt of its own joints; it shares its files with this one.

        Raises:
            RecordingError: no states were recorded, or nobody knows which joints are the robot's.
            WorldModelError: no actuator acts on a joint.
        """
        if self.provenance.simulation is None:
            raise RecordingError(
                f"The recording '{self.folder}' was not simulated, so nobody knows what the robot felt: there are no "
                "physics states of a MuJoCo model. Leave out proprioception, or use a recording of worldmodel record."
            )
        states = (self._shards[0].row_shape(name)[0] for name in ("qpos", "qvel"))
        felt = copy.copy(self)
        felt.proprioception = proprioception_of(recorded_model(self.provenance, *states))
        return felt

    @property
    def provenance(self) -> Provenance:
        return self.manifest.provenance

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Height, width and colours of a frame: as wide as all views together."""
        return self.provenance.height, len(self.cameras) * self.provenance.width, 3

    @property
    def fingerprint(self) -> str:
        """Tell this recording from any other, and from itself with more episodes: a hash of its shards' hashes."""
        return hashlib.sha256(" ".join(entry.sha256 for entry in self.manifest.shards).encode()).hexdigest()

    @property
    def episodes(self) -> int:
        return len(self.frame_start) - 1

    @property
    def frames(self) -> int:
        return int(self.frame_start[-1])

    def episode(self, index: int) -> Episode:
        """Return episode `index`, whole."""
        return replace(self.stream(index).whole(), cameras=self.cameras)

    def action_blocks(self, episode: Episode, frames: int) -> NDArray[np.float32]:
        """Return the blocks of K control steps between the first `frames` of an episode, `[frames - 1, K, A]`."""
        steps = self.provenance.steps_per_frame
        actions = episode.actions[: (frames - 1) * steps]
        return actions.reshape(frames - 1, steps, actions.shape[1])  # of a single frame no shape could be guessed

    def stream(self, index: int) -> StoredEpisode:
        """Return episode `index` to be read piece by piece, with `segments()`, in constant memory."""
        if not 0 <= index < self.episodes:
            raise RecordingError(f"Episode {index} is not in '{self.folder}': it holds 0 to {self.episodes - 1}.")
        shard = int(np.searchsorted(self._shard_episodes, index, side="right")) - 1
        return StoredEpisode(self._shards[shard], index - int(self._shard_episodes[shard]))

    def read_frames(self, start: int, out: NDArray[np.uint8], *, stride: int = 1) -> None:
        """Read frames `start`, `start + stride`, ..., which lie in one episode, into `out [L, *frame_shape]`.

        May be called in several threads at once.
        """
        self.read_clips(np.array([start]), out[None], stride=stride)

    def read_clips(self, starts: NDArray[np.int64], out: NDArray[np.uint8], *, stride: int = 1) -> None:
        """Read B clips, each of which lies in one episode, into `out [B, L, *frame_shape]`; `starts [B]` begin them.

        May be called in several threads at once.
        """
        width = self.provenance.width
        for number, camera in enumerate(self.cameras):
            view = out if len(self.cameras) == 1 else np.empty((*out.shape[:3], width, 3), np.uint8)
            self._read_view(camera, starts, view, stride)
            if view is not out:
                out[:, :, :, number * width : (number + 1) * width] = view

    def _read_view(self, camera: str, starts: NDArray[np.int64], out: NDArray[np.uint8], stride: int) -> None:
        """Read what one camera saw into `out [B, L, H, W, 3]`."""
        column = picture_column("rgb", camera)
        shards = np.searchsorted(self._shard_frames, starts, side="right") - 1
        rows = starts - self._shard_frames[shards]
        places = [
            self._shards[shard].place(column, row) for shard, row in zip(shards.tolist(), rows.tolist(), strict=True)
        ]
        read_clips(places, out, stride=stride)

    def read_actions(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return actions of rows `start` to `stop`, which lie in one episode, `[stop - start, A]`."""
        shard, first = self._locate(self._shard_actions, start)
        actions: NDArray[np.float32] = shard.read("actions", start - first, stop - first)
        return actions

    def read_felt(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return what was felt at frames `start` to `stop`, which lie in one episode, `[stop - start, P]`."""
        if not self.proprioception.size:
            return np.zeros((stop - start, 0), np.float32)
        shard, first = self._locate(self._shard_frames, start)
        qpos, qvel = (shard.read(name, start - first, stop - first) for name in ("qpos", "qvel"))
        return self.proprioception(qpos, qvel)

    def felt_in(self, episodes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what was felt at every frame of `episodes`, one after another, `[N, P]`."""
        bounds = (self.frame_start[episode : episode + 2].tolist() for episode in episodes)
        return np.concatenate([self.read_felt(first, last) for first, last in bounds])

    def read_rewards(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the rewards of control steps `start` to `stop`, which lie in one episode, `[stop - start]`."""
        shard, first = self._locate(self._shard_actions, start)
        rewards: NDArray[np.float64] = shard.read("reward", start - first, stop - first)
        return rewards

    def rewards_in(self, episodes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the reward of the action block after each whole frame of `episodes`, one after another, `[N]`.

        It is the sum over the block's control steps; after an episode's last frame it is 0.
        """
        block = self.provenance.steps_per_frame
        parts = []
        for episode in episodes:
            sums, first = np.zeros(self.whole_frames[episode]), int(self.action_start[episode])
            if steps := (len(sums) - 1) * block:
                sums[:-1] = self.read_rewards(first, first + steps).reshape(-1, block).sum(1)
            parts.append(sums)
        return np.concatenate(parts)

    def close(self) -> None:
        """Close all files in this process."""
        for shard in self._shards:
            shard.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _locate(self, starts: NDArray[np.int64], row: int) -> tuple[Shard, int]:
        """Return the shard with a row, and the shard's first row."""
        # an episode of one frame has no action: where it is the last one, its row is that behind all rows
        index = min(int(np.searchsorted(starts, row, side="right")), len(self._shards)) - 1
        return self._shards[index], int(starts[index])


def check_shard(shard: Shard, entry: ShardEntry, provenance: Provenance, *, first: int) -> None:
    """Refuse a shard that is not the one the manifest lists, whose episodes begin with number `first`."""

    def expect(what: str, held: ArrayLike, expected: ArrayLike) -> None:
        if not np.array_equal(held, expected):
            values = f" ({held!s} in the file, {expected!s} in the manifest)" if np.size(held) < 5 else ""
            raise RecordingError(
                f"Shard '{shard.path}': its {what} are not those that the manifest says{values}. "
                "The file was replaced or damaged."
            )

    frame_start, action_start = shard.episode_column("frame_start"), shard.episode_column("action_start")
    held = (len(frame_start) - 1, int(frame_start[-1]), int(action_start[-1]))
    expect("numbers of episodes, frames and actions", held, (entry.episodes, entry.frames, entry.actions))
    expect("actions' size", shard.row_shape("actions"), (len(provenance.low),))
    expect("episodes", shard.episode_column("index"), np.arange(first, first + entry.episodes))
    if provenance.simulation:
        expect("seeds", np.unique(shard.episode_column("seed")), [provenance.seed])
    blocks = -(-np.diff(action_start) // provenance.steps_per_frame)
    expect("frames in each episode", np.diff(frame_start), blocks + 1)


def split_episodes(episodes: int, held_out: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split episodes `0 .. episodes - 1` into those to train on and those held out, each in rising order.

    Args:
        held_out: share to hold out, in (0, 1); at least one episode is held out, and one is left.

    Raises:
        RecordingError: there are fewer than two episodes.
        WorldModelError: `held_out` is no share.
    """
    if not 0 < held_out < 1:
        raise WorldModelError(f"held_out is {held_out}; expected a share between 0 and 1.")
    if episodes < 2:
        raise RecordingError(
            f"The recording has {episodes} episode; expected at least 2, one to train on and one held out. Record more."
        )
    count = min(max(1, round(episodes * held_out)), episodes - 1)
    order = np.random.default_rng([seed, episodes]).permutation(episodes)
    return np.sort(order[count:]), np.sort(order[:count])
