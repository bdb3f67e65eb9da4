"""The folder of a recording while it is being made: finished episodes one by one, then shards, then the manifest."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

from worldmodel.config import flat
from worldmodel.datasets.disk import lock, sync
from worldmodel.datasets.manifest import MANIFEST, Manifest, Provenance, ShardEntry, sha256_of
from worldmodel.datasets.schema import EpisodeStream
from worldmodel.datasets.shard import Shard, StoredEpisode
from worldmodel.datasets.shard_writer import ShardSize, ShardWriter
from worldmodel.datasets.spool import SpooledEpisode, SpoolWriter
from worldmodel.errors import RecordingError, WorldModelError
from worldmodel.interrupts import signals_held

SPOOL = "spool"
SHARD_BYTES = 2**32  # of raw pictures: 100 to 400 MB on disk for simulated video

# Provenance that does not stop a recording from being continued.
MAY_DIFFER = {
    "command",
    "simulation.mjcf",
    "software.python",
    "software.gymnasium",
    "software.worldmodel_commit",
    "simulation.gl_renderer",
}


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what a disk refuses into a `RecordingError` that says what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise RecordingError(
            f"Writing to '{error.filename or folder}' failed: {error.strerror or error}. "
            f"{'Free space there' if full else 'Mend that'}, or choose another --out. "
            "Finished episodes are kept: continue with --resume."
        ) from error


def spool_path(folder: Path, index: int) -> Path:
    """Return where finished episode `index` waits for its shard."""
    return folder / SPOOL / f"episode-{index:08d}.bin"


def expected_row(provenance: Provenance, index: int) -> int:
    """Return where in its shard episode `index` begins, if all those before it are of full length."""
    length = max(1, provenance.episode_frames)
    episodes = math.ceil(SHARD_BYTES / (length * provenance.picture_bytes))  # in a shard
    return index % episodes * length


@contextmanager
def spool_episode(folder: Path, provenance: Provenance, *, index: int, seed: int) -> Iterator[SpoolWriter]:
    """Open a finished-episode file to write to; it counts only once its `finish` was called.

    Raises:
        RecordingError: the disk is full or fails.
    """
    path, first_row = spool_path(folder, index), expected_row(provenance, index)
    with (
        disk_errors(folder),
        SpoolWriter(path, index=index, seed=seed, compression=provenance.compression, first_row=first_row) as writer,
    ):
        yield writer


class RecordingStore:
    """Owns the folder of a recording that is being made; a second owner is refused.

    Shards are filled in the order of the episodes, and are full at a fixed amount of raw pictures, so their
    bytes depend neither on which worker finished first nor on interruptions.

    Args:
        folder: made if it is missing.
        provenance: of the recording to make.
        resume: continue what the folder holds.

    Raises:
        RecordingError: the folder is in use, cannot be written, holds a recording already (without
            `resume`), or holds one of another provenance (with `resume`; names the difference).
    """

    def __init__(self, folder: Path, provenance: Provenance, *, resume: bool) -> None:
        self.folder = folder
        self._growing: ShardWriter | None = None
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            try:
                self._manifest = self._begin(provenance, resume=resume)
                self._clean()
            except BaseException:
                self._lock.close()
                raise

    def _begin(self, provenance: Provenance, *, resume: bool) -> Manifest:
        spool = self.folder / SPOOL
        if (self.folder / MANIFEST).exists():
            if not resume:
                raise RecordingError(
                    f"'{self.folder}' already holds a recording. Continue it with --resume, or choose another --out."
                )
            manifest = Manifest.read(self.folder)
            _refuse_difference(self.folder, manifest.provenance, provenance)
        elif spool.exists() and any(spool.iterdir()):
            raise RecordingError(
                f"'{self.folder}' holds unfinished episodes but no {MANIFEST} to say what they are of. "
                f"Restore it, remove '{spool}', or choose another --out."
            )
        else:
            manifest = Manifest.new(provenance)
            self._write(manifest)
        spool.mkdir(exist_ok=True)
        return manifest

    def _clean(self) -> None:
        """Remove from the spool what a kill or a power cut left: unfinished, already sealed or unreadable."""
        for partial in [*self.folder.glob("*.partial"), *(self.folder / SPOOL).glob("*.partial")]:
            partial.unlink()
        self._waiting: dict[int, SpooledEpisode] = {}
        for path in (self.folder / SPOOL).glob("episode-*.bin"):
            try:
                episode = SpooledEpisode(path)
                episode.check()
                keep = episode.index >= self.sealed.episodes and path == spool_path(self.folder, episode.index)
            except RecordingError:
                keep = False
            if keep:
                self._waiting[episode.index] = episode
            else:
                path.unlink()

    @property
    def sealed(self) -> ShardSize:
        """How much is in finished shards: always the first episodes."""
        sizes = (ShardSize(entry.episodes, entry.frames, entry.actions) for entry in self._manifest.shards)
        return sum(sizes, ShardSize(0, 0, 0))

    @property
    def waiting(self) -> Mapping[int, ShardSize]:
        """The finished episodes that are in no shard yet."""
        return {index: ShardSize.of(episode) for index, episode in self._waiting.items()}

    @property
    def manifest(self) -> Manifest:
        """What the manifest says by now."""
        return self._manifest

    def add(self, episode: EpisodeStream, told: Callable[[int], None] = lambda frames: None) -> None:
        """Write a whole episode in this process.

        Args:
            told: called with the number of frames of each segment that is written.

        Raises:
            RecordingError: the disk is full or fails.
        """
        with self.episode(episode.index, seed=episode.seed) as writer:
            for segment in episode.segments():
                writer.add(segment)
                told(len(segment))
            writer.finish(episode.ending)

    @contextmanager
    def episode(self, index: int, *, seed: int) -> Iterator[SpoolWriter]:
        """Write an episode in this process: `add` its segments, `finish` it.

        Raises:
            RecordingError: the disk is full or fails.
        """
        with spool_episode(self.folder, self._manifest.provenance, index=index, seed=seed) as writer:
            yield writer
        self.take(index)

    def take(self, index: int) -> ShardSize:
        """Take notice of an episode that was finished in the spool, by this process or another; return its size."""
        self._waiting[index] = SpooledEpisode(spool_path(self.folder, index))
        return ShardSize.of(self._waiting[index])

    def reopen(self) -> None:
        """Move the episodes of a last shard that is not full back to the spool, so that others can join them."""
        if not self._manifest.shards or self._is_full(self._manifest.shards[-1].frames):
            return
        entry = self._manifest.shards[-1]
        with Shard.of(self.folder / entry.file, self._manifest.provenance) as last:
            for row in range(entry.episodes):
                self.add(StoredEpisode(last, row))
        with disk_errors(self.folder):
            # to the disk, before the shard that held them goes
            for index in range(self.sealed.episodes - entry.episodes, self.sealed.episodes):
                sync(spool_path(self.folder, index))
            sync(self.folder / SPOOL)
            sync(self.folder)
            self._manifest = replace(self._manifest, shards=self._manifest.shards[:-1])
            self._write(self._manifest)
            last.path.unlink()

    def seal(self, *, everything: bool = False) -> None:
        """Move waiting episodes into shards, as far as they follow each other without a gap.

        A shard grows as they come. They leave the spool when it is full and finished.

        Args:
            everything: finish the last shard too, though it is not full.
        """
        with disk_errors(self.folder):
            try:
                while (index := self.sealed.episodes + self._growing_episodes) in self._waiting:
                    with signals_held():  # else an interruption would cost all that the shard has by now
                        self._grow(index)
                if everything and self._growing_episodes:
                    self._finish_shard()
            except BaseException:
                self._drop()  # the spool still has all that was in it
                raise

    def finish(self, seconds: float) -> Manifest:
        """Write the last shard and the manifest; return the manifest.

        Episodes behind a gap (one that was not finished) stay in the spool, for --resume.
        """
        self.seal(everything=True)
        with disk_errors(self.folder):
            self._manifest = replace(self._manifest, seconds=self._manifest.seconds + seconds)
            self._write(self._manifest)
            for partial in (self.folder / SPOOL).glob("*.partial"):  # of workers that were stopped
                partial.unlink()
            if not any((self.folder / SPOOL).iterdir()):
                (self.folder / SPOOL).rmdir()
        return self._manifest

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Finish the recording when the block ends; when an error ends it, finish what there is, and let that go on."""
        started = time.perf_counter()
        try:
            yield
        except BaseException:
            with suppress(WorldModelError):  # if even that fails (a full disk), the spool keeps it for --resume
                self.finish(time.perf_counter() - started)
            raise
        self.finish(time.perf_counter() - started)

    def close(self) -> None:
        """Let others have the folder."""
        try:
            self._drop()
        finally:
            self._lock.close()  # its file stays: if it were removed, two others could each lock a file of that name

    def __enter__(self) -> RecordingStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _growing_episodes(self) -> int:
        return self._growing.size.episodes if self._growing else 0

    def _is_full(self, frames: int) -> bool:
        return frames * self._manifest.provenance.picture_bytes >= SHARD_BYTES

    def _grow(self, index: int) -> None:
        """Write the next episode into the shard that grows."""
        if self._growing is None:
            path = self.folder / f"shard-{len(self._manifest.shards):05d}.h5"
            self._growing = ShardWriter(path, self._manifest.provenance.compression)
        self._growing.append(self._waiting[index])
        if self._is_full(self._growing.size.frames):
            self._finish_shard()

    def _finish_shard(self) -> None:
        assert self._growing is not None
        size, path = self._growing.size, self._growing.path
        self._growing.finish()
        self._growing = None
        entry = ShardEntry(path.name, sha256_of(path), **asdict(size))
        episodes = range(self.sealed.episodes, self.sealed.episodes + size.episodes)
        self._manifest = replace(self._manifest, shards=(*self._manifest.shards, entry))
        self._write(self._manifest)
        for index in episodes:
            spool_path(self.folder, index).unlink()
            del self._waiting[index]

    def _drop(self) -> None:
        if self._growing is not None:
            self._growing.discard()
            self._growing = None

    def _write(self, manifest: Manifest) -> None:
        path = self.folder / MANIFEST
        partial = path.with_name(MANIFEST + ".partial")
        partial.write_text(manifest.to_json(), encoding="utf-8")
        sync(partial)
        partial.rename(path)
        sync(self.folder)


def _lock(folder: Path) -> IO[str]:
    """Take the folder for this process, until the file returned is closed or the process ends."""
    held = lock(folder)
    if held is None:
        raise RecordingError(f"'{folder}' is in use by another recorder. Wait for it, or choose another --out.")
    return held


def _refuse_difference(folder: Path, held: Provenance, asked: Provenance) -> None:
    held_fields, asked_fields = dict(flat(asdict(held))), dict(flat(asdict(asked)))
    for name in sorted(held_fields.keys() | asked_fields.keys()):
        there, here = held_fields.get(name), asked_fields.get(name)
        if name not in MAY_DIFFER and there != here:
            raise RecordingError(
                f"'{folder}' cannot be continued: its {name} is {there!r}, this recording's would be {here!r}. "
                "Use the same settings (for an import: the same files), or choose another --out."
            )
