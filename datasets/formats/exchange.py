"""Bring what others recorded into a recording, and recordings into what others read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from worldmodel.datasets.formats.registry import Target, expand, find_format, guess_format
from worldmodel.datasets.formats.source import Source, SourceConfig
from worldmodel.datasets.manifest import Manifest
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.store import RecordingStore
from worldmodel.errors import WorldModelError

# Is told how many frames are done, and how many there are.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes:
        manifest: of the recording.
        notes: what was assumed.
    """

    manifest: Manifest
    notes: tuple[str, ...]


@dataclass
class _Count:
    """Count frames, and tell how many are done of how many."""

    total: int
    progress: Progress | None
    done: int = 0

    def __call__(self, frames: int) -> None:
        self.done += frames
        if self.progress:
            self.progress(self.done, self.total)


def import_recording(
    sources: Sequence[str],
    out: Path,
    *,
    format: str = "auto",
    config: SourceConfig | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Make a recording in the folder `out` of what is in `sources`.

    Args:
        sources: files, folders or ids; several videos, patterns among them, become an episode each.
        format: one of `FORMATS`, or "auto".
        resume: continue an import of the same sources that was stopped.
        progress: called after each piece of an episode.

    Raises:
        WorldModelError: the sources are missing, unclear, broken or do not fit; a package is missing; `out` is in
            use or of other sources; a full disk. What was finished is kept, for `resume`.
        KeyboardInterrupt: Ctrl-C. What was finished is kept, for `resume`.
    """
    sources = expand(sources)
    if not sources:
        raise WorldModelError("Nothing to import: expected at least one file, folder or id.")
    chosen = find_format(guess_format(sources) if format == "auto" else format)
    if len(sources) > 1 and not chosen.several:
        raise WorldModelError(f"There are {len(sources)} sources; expected one, as only videos can be put together.")
    with (
        chosen.open_source(sources, config or SourceConfig()) as source,
        RecordingStore(out, source.provenance, resume=resume) as store,
    ):
        with store.filling():
            _copy(source, store, progress)
        return Imported(store.manifest, source.notes)


def _copy(source: Source, store: RecordingStore, progress: Progress | None) -> None:
    finished = {*range(store.sealed.episodes), *store.waiting}
    if any(episode.index not in finished for episode in source.episodes):
        store.reopen()
    told = _Count(source.frames, progress)
    for episode in source.episodes:
        if episode.index in finished:
            told.done += episode.length
        else:
            store.add(episode, told)
            store.seal()


def export_recording(
    recording: Recording,
    out: Path,
    *,
    format: str,
    camera: str | None = None,
    lossy: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a recording to the new file or folder `out`, which appears when it is whole.

    Args:
        format: one of `FORMATS`.
        camera: export what this camera saw; all cameras when left out, of which video takes the main one.
        lossy: videos that players play, a third of the size, whose pixels are not exactly those recorded.
        progress: called after each piece of an episode.

    Raises:
        WorldModelError: `out` exists; an unknown format or camera; a package is missing; the format has no place for
            what was recorded; the disk is full or fails. Nothing is left of it then.
    """
    chosen = find_format(format)
    if lossy and not chosen.has_video:
        raise WorldModelError(f"--lossy is about videos; {format} keeps pictures as they are. Leave it out.")
    out = out.resolve()  # "." has no name
    partial = out.parent / (out.name + ".partial")
    for path, why in ((out, "exists already"), (partial, "is left from an export that was killed")):
        if path.exists() or path.is_symlink():
            raise WorldModelError(f"'{path}' {why}. Remove it, or choose another --out.")
    source = Source.of(recording, camera)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        chosen.write(source, Target(partial, out.name, lossy), _Count(source.frames, progress))
        partial.rename(out)
    except OSError as error:
        raise WorldModelError(
            f"Exporting to '{out}' failed: {error.strerror or error}. Expected a folder with space that can be "
            "written; choose another --out. Nothing is left of the export."
        ) from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)
