"""The folder of a recording while it is being made: finished episodes one by one, then shards, then the manifest."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

from worldmodel.datasets.schema import MANIFEST, Episode, Manifest, Provenance, ShardEntry, sha256_of
from worldmodel.datasets.shard import Shard
from worldmodel.datasets.shard_writer import ShardSize, ShardWriter, sync
from worldmodel.errors import RecordingError

SPOOL = "spool"
SHARD_BYTES = 2**30  # of raw frames; about a tenth of it on disk for simulated video

MAY_DIFFER = {"gl_renderer", "python", "gymnasium"}  # provenance that does not stop a recording from being continued


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
    return folder / SPOOL / f"episode-{index:08d}.h5"


def spool_episode(folder: Path, episode: Episode, camera: str) -> int:
    """Write one finished episode into a closed file of its own; return its bytes.

    A recording that is killed keeps every file written so: HDF5 files that are open at that moment are
    often lost whole.

    Raises:
        RecordingError: the disk is full or fails.
    """
    path = spool_path(folder, episode.index)
    with disk_errors(folder):
        with ShardWriter(path, ShardSize.of(episode), camera, durable=False) as writer:
            writer.append(episode)
        return path.stat().st_size


class RecordingStore:
    """Owns the folder of a recording that is being made; a second owner is refused.

    Shards are cut at a fixed number of episodes, in the order of the episodes, so their bytes depend
    neither on which worker finished first nor on interruptions.

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
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            try:
                self._manifest = self._begin(provenance, resume=resume)
                self._clean()
            except BaseException:
                self._lock.close()
                raise
        self._ready = self.in_shards  # episodes from here on are not known to be in the spool

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
            manifest = Manifest(provenance, (), 0.0)
            self._write(manifest)
        spool.mkdir(exist_ok=True)
        return manifest

    def _clean(self) -> None:
        """Remove from the spool what a kill or a power cut left: unfinished, already sealed or unreadable."""
        for partial in [*self.folder.glob("*.partial"), *(self.folder / SPOOL).glob("*.partial")]:
            partial.unlink()
        for index in self._spooled_indices():
            if index < self.in_shards or not self._is_whole(index):
                spool_path(self.folder, index).unlink()

    @property
    def in_shards(self) -> int:
        """How many episodes are in finished shards: always the first ones."""
        return sum(entry.episodes for entry in self._manifest.shards)

    def finished(self) -> set[int]:
        """Return the numbers of all finished episodes."""
        return {*self._spooled_indices(), *range(self.in_shards)}

    def reopen(self) -> None:
        """Move the episodes of a last shard that is not full back to the spool, so that others can join them."""
        if not self._manifest.shards or self._manifest.shards[-1].episodes >= self._episodes_per_shard:
            return
        with Shard(self.folder / self._manifest.shards[-1].file, self._manifest.provenance.camera_key) as last:
            for row in range(self._manifest.shards[-1].episodes):
                spool_episode(self.folder, last.read_episode(row), last.camera)
        with disk_errors(self.folder):
            self._manifest = replace(self._manifest, shards=self._manifest.shards[:-1])
            self._write(self._manifest)
            last.path.unlink()
        self._ready = self.in_shards

    def seal(self, *, everything: bool = False) -> None:
        """Move waiting episodes into shards, as far as they follow each other without a gap.

        Args:
            everything: write the last shard too, though it is not full.
        """
        while spool_path(self.folder, self._ready).exists():
            self._ready += 1
        while (waiting := self._ready - self.in_shards) >= self._episodes_per_shard or (everything and waiting):
            self._write_shard(min(waiting, self._episodes_per_shard))

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

    def close(self) -> None:
        """Let others have the folder."""
        self._lock.close()  # its file stays: if it were removed, two others could each lock a file of that name

    @property
    def _episodes_per_shard(self) -> int:
        provenance = self._manifest.provenance
        return -(-SHARD_BYTES // (provenance.episode_frames * provenance.height * provenance.width * 3))

    def _spooled_indices(self) -> list[int]:
        paths = (self.folder / SPOOL).glob("episode-*.h5")
        return sorted(int(path.stem.removeprefix("episode-")) for path in paths)

    def _spooled(self, index: int) -> Shard:
        return Shard(spool_path(self.folder, index), self._manifest.provenance.camera_key)

    def _is_whole(self, index: int) -> bool:
        try:
            with self._spooled(index) as shard:
                return shard.read_episode(0).index == index
        except RecordingError:
            return False

    def _write_shard(self, count: int) -> None:
        """Write the first `count` waiting episodes into the next shard."""
        episodes = range(self.in_shards, self.in_shards + count)
        size = ShardSize(0, 0, 0)
        for index in episodes:
            with self._spooled(index) as shard:
                size += ShardSize(1, len(shard.file["time"]), len(shard.file["actions"]))
        path = self.folder / f"shard-{len(self._manifest.shards):05d}.h5"
        with disk_errors(self.folder):
            with ShardWriter(path, size, self._manifest.provenance.camera_key) as writer:
                for index in episodes:
                    with self._spooled(index) as shard:
                        writer.append(shard.read_episode(0))
            entry = ShardEntry(path.name, sha256_of(path), **asdict(size))
            self._manifest = replace(self._manifest, shards=(*self._manifest.shards, entry))
            self._write(self._manifest)
            for index in episodes:
                spool_path(self.folder, index).unlink()

    def _write(self, manifest: Manifest) -> None:
        path = self.folder / MANIFEST
        partial = path.with_name(MANIFEST + ".partial")
        partial.write_text(manifest.to_json(), encoding="utf-8")
        sync(partial)
        partial.rename(path)
        sync(self.folder)


def _lock(folder: Path) -> IO[str]:
    """Take the folder for this process, until the file returned is closed or the process ends."""
    lock = (folder / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RecordingError(
            f"'{folder}' is in use by another recorder. Wait for it, or choose another --out."
        ) from None
    return lock


def _refuse_difference(folder: Path, held: Provenance, asked: Provenance) -> None:
    held_fields, asked_fields = asdict(held), asdict(asked)
    for name in held_fields:
        if name not in MAY_DIFFER | {"mjcf"} and held_fields[name] != asked_fields[name]:
            raise RecordingError(
                f"'{folder}' cannot be continued: its {name} is {held_fields[name]!r}, "
                f"this recording's would be {asked_fields[name]!r}. Use the same settings, or choose another --out."
            )
