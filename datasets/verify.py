"""Tell whether a recording is whole: its files and, on request, every value in them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from worldmodel.datasets.inspection import Inspector, LastPictures
from worldmodel.datasets.isolated import Isolated
from worldmodel.datasets.manifest import MANIFEST, Manifest, Provenance, ShardEntry
from worldmodel.datasets.reader import check_shard
from worldmodel.datasets.schema import EpisodeStream
from worldmodel.datasets.shard import Shard, StoredEpisode
from worldmodel.datasets.spool import SpooledEpisode
from worldmodel.datasets.store import SPOOL
from worldmodel.errors import RecordingError

PATIENCE = 60.0
HASHED_AT_ONCE = 2**24

# Is told `(frames checked, frames in all, file)`.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or looks wrong.

    Attributes:
        severity: "error" where data is lost or cannot be trusted, else "warning".
        file: name of the file in the recording's folder.
        episode: number of the episode; None where it is not about one.
        text: what was found.
    """

    severity: Literal["error", "warning"]
    file: str
    episode: int | None
    text: str


@dataclass(frozen=True)
class Checked:
    """How much more was checked."""

    episodes: int
    frames: int


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes:
        findings: in the order of the files.
        shards: how many the manifest lists.
        episodes, frames: how many were checked.
        seconds: how long that took.
    """

    findings: tuple[Finding, ...]
    shards: int
    episodes: int
    frames: int
    seconds: float

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")


def verify(folder: Path, *, deep: bool = False, patience: float = PATIENCE, progress: Progress | None = None) -> Report:
    """Check the recording in `folder`. Files are read in a process of its own: one that crashes HDF5 is told.

    Args:
        deep: check hashes, decode every value, and look at every picture.
        patience: longest time without progress before a file counts as hanging its reader, s.

    Raises:
        RecordingError: there is nothing like a recording in `folder`.
        WorldModelError: `patience` is not above 0, or not finite.
    """
    started = time.perf_counter()
    if not (folder / MANIFEST).is_file() and not any([*folder.glob("*.h5"), *folder.glob(f"{SPOOL}/*.bin")]):
        Manifest.read(folder)  # says what is missing
    findings: list[Finding] = []
    episodes = frames = 0
    try:
        manifest = Manifest.read(folder)
    except RecordingError as error:
        findings.append(Finding("error", MANIFEST, None, str(error)))
        findings += _loose_files(folder, set())
        return Report(tuple(findings), 0, 0, 0, time.perf_counter() - started)
    total = sum(entry.frames for entry in manifest.shards)
    with Isolated(patience=patience) as reader:
        for check in _checks(folder, manifest, deep=deep):
            try:
                for result in reader.run(check):
                    if isinstance(result, Finding):
                        findings.append(result)
                        continue
                    episodes, frames = episodes + result.episodes, frames + result.frames
                    if progress:
                        progress(frames, total, check.path.name)
            except RecordingError as error:
                findings.append(Finding("error", check.path.name, None, str(error)))
    findings += _loose_files(folder, {entry.file for entry in manifest.shards})
    return Report(tuple(findings), len(manifest.shards), episodes, frames, time.perf_counter() - started)


def _checks(folder: Path, manifest: Manifest, *, deep: bool) -> Iterator[_ShardCheck | _SpoolCheck]:
    first = 0
    for entry in manifest.shards:
        yield _ShardCheck(folder / entry.file, entry, manifest.provenance, first, deep)
        first += entry.episodes
    for path in sorted((folder / SPOOL).glob("*.bin")):
        yield _SpoolCheck(path, manifest.provenance, first, deep)


@dataclass(frozen=True)
class _ShardCheck:
    """Check one shard, whose episodes begin with number `first`."""

    path: Path
    entry: ShardEntry
    provenance: Provenance
    first: int
    deep: bool

    def __call__(self) -> Iterator[Finding | Checked]:
        if self.deep and self.path.is_file() and not self.path.is_symlink():
            yield from self._check_hash()
        with Shard.of(self.path, self.provenance) as shard:
            check_shard(shard, self.entry, self.provenance, first=self.first)
            if not self.deep:
                yield Checked(self.entry.episodes, self.entry.frames)
                return
            seen = LastPictures()
            for row in range(self.entry.episodes):
                number = self.first + row
                yield from look_through(
                    partial(StoredEpisode, shard, row), self.path.name, number, self.provenance, seen
                )

    def _check_hash(self) -> Iterator[Finding | Checked]:
        whole = hashlib.sha256()
        with self.path.open("rb") as file:
            while part := file.read(HASHED_AT_ONCE):
                whole.update(part)
                yield Checked(0, 0)
        if whole.hexdigest() != self.entry.sha256:
            yield Finding(
                "error", self.path.name, None, "Its SHA-256 is not that of the manifest: it was changed or damaged."
            )


@dataclass(frozen=True)
class _SpoolCheck:
    """Check one finished episode that waits for its shard, of a recording with `sealed` episodes in shards."""

    path: Path
    provenance: Provenance
    sealed: int
    deep: bool

    def __call__(self) -> Iterator[Finding | Checked]:
        name = f"{SPOOL}/{self.path.name}"
        episode = SpooledEpisode(self.path)
        if episode.index < self.sealed:
            yield Finding("warning", name, episode.index, "It is in a shard already: --resume removes it.")
            return
        yield Finding(
            "warning",
            name,
            episode.index,
            f"A finished episode of {episode.length} frames waits for its shard: the recording was interrupted. "
            "Continue it with --resume, or take it out with: worldmodel repair",
        )
        if self.deep:
            yield from look_through(partial(SpooledEpisode, self.path), name, episode.index, self.provenance)


def look_through(
    open_: Callable[[], EpisodeStream],
    file: str,
    number: int,
    provenance: Provenance,
    seen: LastPictures | None = None,
) -> Iterator[Finding | Checked]:
    """Read a whole episode, and yield what is wrong with it."""
    inspector = Inspector(provenance, seen=seen)
    try:
        episode = open_()
        for segment in episode.segments():
            inspector.add(segment)
            yield Checked(0, len(segment))
        inspector.finish(episode)
    except RecordingError as error:
        inspector.errors.append(str(error))
    for text in inspector.errors:
        yield Finding("error", file, number, text)
    for text in inspector.warnings:
        yield Finding("warning", file, number, text)
    yield Checked(1, 0)


def _loose_files(folder: Path, listed: set[str]) -> Iterator[Finding]:
    """Yield what a kill or a power cut left, and shards that nobody knows of."""
    for path in sorted([*folder.glob("*.partial"), *folder.glob(f"{SPOOL}/*.partial")]):
        name = str(path.relative_to(folder))
        yield Finding("warning", name, None, "It was never finished: a recorder is at work here, or was stopped.")
    for path in sorted(folder.glob("*.h5")):
        if path.name not in listed:
            yield Finding("warning", path.name, None, "The manifest does not list this shard: nothing reads it.")
