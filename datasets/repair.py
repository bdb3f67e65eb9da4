"""Make a new recording of every whole episode of one that is damaged or was interrupted.

Episodes keep their order, bytes and seeds. Where none is lost in between, the new recording is what an
interrupted recorder would have left, and `--resume` continues it. Where some are lost, those behind them get
lower numbers. Number and seed then no longer repeat an episode (its state and actions do), so the policy's
name gets the mark `repaired:`, upon which `--resume` refuses the recording instead of playing some episodes twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from worldmodel.datasets.inspection import Inspector
from worldmodel.datasets.isolated import Isolated, ReaderDiedError
from worldmodel.datasets.manifest import MANIFEST, Manifest, Provenance, ShardEntry, command_line
from worldmodel.datasets.reader import check_shard
from worldmodel.datasets.schema import EpisodeStream
from worldmodel.datasets.shard import Shard, StoredEpisode
from worldmodel.datasets.spool import SpooledEpisode
from worldmodel.datasets.store import SPOOL, RecordingStore, spool_episode
from worldmodel.datasets.verify import PATIENCE
from worldmodel.errors import RecordingError

REPAIRED = "repaired:"

# Is told `(files copied, files in all, the last of them)`.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Lost:
    """Episodes `first` to `last` that could not be kept."""

    file: str
    first: int
    last: int
    why: str


@dataclass(frozen=True)
class Repaired:
    """What a repair kept and lost.

    Attributes:
        kept: the numbers that the kept episodes had.
        frames: how many frames they have.
        lost: the others.
    """

    kept: tuple[int, ...]
    frames: int
    lost: tuple[Lost, ...]

    @property
    def renumbered(self) -> bool:
        return self.kept != tuple(range(len(self.kept)))


@dataclass(frozen=True)
class _Kept:
    """An episode that was copied, and the shapes of its rows."""

    frames: int
    rows: Mapping[str, tuple[int, ...]]


class _DamagedError(Exception):
    """The episode at hand is not whole."""


def repair(source: Path, out: Path, *, patience: float = PATIENCE, progress: Progress | None = None) -> Repaired:
    """Copy every whole episode of the recording `source` into the new recording `out`; `source` is only read.

    Files are read in a process of its own: one that crashes HDF5 costs what cannot be read of it, and no more.

    Args:
        patience: longest time without progress before a file counts as hanging its reader, s.

    Raises:
        RecordingError: `source` has no manifest that can be read, nothing of it is whole, or `out` is not new
            or cannot be written.
        WorldModelError: `patience` is not above 0, or not finite.
    """
    manifest, out = _manifest(source), out.resolve()  # "." has no name to put another one beside
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RecordingError(f"'{out}' exists; expected a new folder. Choose another --out.")
    if source.resolve() in out.parents:
        raise RecordingError(f"'{out}' lies inside the recording '{source}'. Choose another --out.")
    unfinished = out.with_name(out.name + ".partial")
    if unfinished.exists():
        raise RecordingError(f"'{unfinished}' is left from a repair that was stopped, or still runs. Remove it.")
    try:
        sources, lost = _sources(source, manifest)
        with (
            RecordingStore(unfinished, manifest.provenance, resume=False) as store,
            Isolated(patience=patience) as reader,
        ):
            work = _Repair(store, reader, lost)
            for number, each in enumerate(sources):
                work.copy(each)
                if progress:
                    progress(number + 1, len(sources), each.name)
            store.finish(manifest.seconds)
        repaired = Repaired(tuple(work.kept), work.frames, tuple(sorted(lost, key=lambda lost: lost.first)))
        if not repaired.kept:
            reasons = " ".join(sorted({lost.why for lost in repaired.lost})) or "It holds no episode."
            raise RecordingError(f"No episode of '{source}' is whole. {reasons}")
        _sign(unfinished, repaired)
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return repaired


def _manifest(source: Path) -> Manifest:
    try:
        return Manifest.read(source)
    except RecordingError as error:
        if not any([*source.glob("*.h5"), *source.glob(f"{SPOOL}/*.bin")]):
            raise
        raise RecordingError(
            f"{error} The episodes of '{source}' cannot be used without it: only the manifest knows the environment, "
            "the cameras, the actuators' bounds and the time between control steps. Restore it from a copy, or begin "
            f"the same recording anew in another folder and take the {MANIFEST} from there, with this one's list of "
            "shards."
        ) from error


def _sign(folder: Path, repaired: Repaired) -> None:
    """Write into the manifest that this is a repaired recording."""
    manifest = Manifest.read(folder)
    provenance = replace(manifest.provenance, command=f"{manifest.provenance.command}; {command_line()}")
    if repaired.renumbered and not provenance.policy.startswith(REPAIRED):
        provenance = replace(provenance, policy=REPAIRED + provenance.policy)
    (folder / MANIFEST).write_text(replace(manifest, provenance=provenance).to_json(), encoding="utf-8")


@dataclass(frozen=True)
class _Source:
    """A file with consecutive episodes, `first` being the first.

    Attributes:
        entry: what the manifest says of it; None for a file of the spool, which has one episode.
    """

    path: Path
    first: int
    episodes: int
    entry: ShardEntry | None
    provenance: Provenance

    @property
    def name(self) -> str:
        return self.path.name if self.entry else f"{SPOOL}/{self.path.name}"

    @contextmanager
    def opened(self) -> Iterator[Callable[[int], EpisodeStream]]:
        """Open the file, and give what opens the episode of a row."""
        if self.entry is None:
            yield lambda row: SpooledEpisode(self.path)
            return
        with Shard.of(self.path, self.provenance) as shard:
            check_shard(shard, self.entry, self.provenance, first=self.first)
            yield partial(StoredEpisode, shard)


def _sources(folder: Path, manifest: Manifest) -> tuple[list[_Source], list[Lost]]:
    """Return the files of a recording in the order of their episodes, and the episodes that have none."""
    sources, missing = [], []
    at = 0
    for entry in manifest.shards:
        sources.append(_Source(folder / entry.file, at, entry.episodes, entry, manifest.provenance))
        at += entry.episodes
    for path in sorted((folder / SPOOL).glob("episode-*.bin")):
        digits = path.stem.removeprefix("episode-")
        if not digits.isdecimal() or int(digits) < at:  # a shard has it already
            continue
        if int(digits) > at:
            missing.append(Lost(SPOOL, at, int(digits) - 1, "The recording was interrupted before it was finished."))
        sources.append(_Source(path, int(digits), 1, None, manifest.provenance))
        at = int(digits) + 1
    return sources, missing


@dataclass(frozen=True)
class _Copy:
    """Copy episodes into the spool of a new recording; done in the reader's process.

    Yields what became of each episode, and None as a sign of life: one when the file is open, then one
    for each segment.

    Attributes:
        row: the first episode of `source` to copy.
        out: folder of the new recording.
        number: of the next episode there.
        rows: shape of a row of each column there; None where there is no episode yet.
    """

    source: _Source
    row: int
    out: Path
    number: int
    rows: Mapping[str, tuple[int, ...]] | None

    def __call__(self) -> Iterator[_Kept | Lost | None]:
        source, number, rows = self.source, self.number, self.rows
        with ExitStack() as stack:
            try:
                open_episode = stack.enter_context(source.opened())
            except (RecordingError, OSError) as error:
                yield Lost(source.name, source.first + self.row, source.first + source.episodes - 1, str(error))
                return
            yield None
            for row in range(self.row, source.episodes):
                inspector = Inspector(source.provenance, rows=rows)
                try:
                    yield from self._copy(partial(open_episode, row), source.first + row, number, inspector)
                except _DamagedError as error:
                    yield Lost(source.name, source.first + row, source.first + row, str(error))
                else:
                    number, rows = number + 1, inspector.rows

    def _copy(
        self, open_: Callable[[], EpisodeStream], held: int, number: int, inspector: Inspector
    ) -> Iterator[_Kept | None]:
        with _damage():
            episode = open_()
        if episode.index != held:
            raise _DamagedError(f"it says that it is episode {episode.index}; expected {held}")
        with spool_episode(self.out, self.source.provenance, index=number, seed=episode.seed) as writer:
            segments = episode.segments()
            while True:
                with _damage():
                    segment = next(segments, None)
                if segment is None:
                    break
                inspector.add(segment)
                if inspector.errors:
                    raise _DamagedError("; ".join(inspector.errors))
                writer.add(segment)
                yield None
            inspector.finish(episode)
            if inspector.errors or inspector.rows is None:
                raise _DamagedError("; ".join(inspector.errors))
            writer.finish(episode.ending)
        yield _Kept(episode.length, inspector.rows)


@contextmanager
def _damage() -> Iterator[None]:
    """Tell a file that cannot be read from one that cannot be written."""
    try:
        yield
    except (RecordingError, OSError) as error:
        raise _DamagedError(str(error)) from error


class _Repair:
    """Fill `store` with the whole episodes of `sources`.

    Attributes:
        kept, frames, lost: as of `Repaired`.
    """

    def __init__(self, store: RecordingStore, reader: Isolated, lost: list[Lost]) -> None:
        self._store, self._reader = store, reader
        self.kept: list[int] = []
        self.frames = 0
        self.lost = lost
        self._rows: Mapping[str, tuple[int, ...]] | None = None

    def copy(self, source: _Source) -> None:
        """Copy a file's episodes; when one of them ends the reader, go on behind it."""
        at = 0
        while at < source.episodes:
            work = _Copy(source, at, self._store.folder, len(self.kept), self._rows)
            opened = False
            try:
                for result in self._reader.run(work):
                    opened = True
                    if result is not None:
                        at += self._take(source.first + at, result)
            except ReaderDiedError as error:
                last = at if opened else source.episodes - 1
                self.lost.append(Lost(source.name, source.first + at, source.first + last, str(error)))
                at = last + 1

    def _take(self, number: int, result: _Kept | Lost) -> int:
        """Take notice of what became of one or more episodes; return how many."""
        if isinstance(result, Lost):
            self.lost.append(result)
            return result.last - result.first + 1
        self._store.take(len(self.kept))
        self.kept.append(number)
        self.frames, self._rows = self.frames + result.frames, result.rows
        self._store.seal()
        return 1
