"""Make a recording's episodes on all cores, into its folder, and lose none that was finished."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from worldmodel.datasets.amount import Amount, Quota
from worldmodel.datasets.manifest import Manifest, Provenance
from worldmodel.datasets.store import RecordingStore
from worldmodel.datasets.workers import Job, Workers
from worldmodel.interrupts import sigterm_interrupts


@dataclass(frozen=True)
class Crew:
    """Who works: how many processes (0: one for each core), and how long one may go without a frame, s."""

    workers: int
    patience: float


@dataclass(frozen=True)
class Finished:
    """How far a recording is after one more episode.

    Attributes:
        episode: number of that episode.
        frames: frames that this run has recorded.
        bytes: what they take in the spool.
        done, total: in the unit of the amount, earlier runs included; `total` may be exceeded.
        unit: what `done` and `total` count.
    """

    episode: int
    frames: int
    bytes: int
    done: int
    total: int
    unit: str


class Progress(Protocol):
    """Is told how the recording goes."""

    def __call__(self, finished: Finished) -> None: ...


def produce(
    job: Job,
    amount: Amount,
    out: Path,
    provenance: Provenance,
    crew: Crew,
    *,
    resume: bool,
    progress: Progress | None,
) -> Manifest:
    """Have `job` make episodes in the spool of `out`, and collect them into shards.

    Args:
        job: makes the episodes that it is given, each with `spool_episode`.
        amount: how much.
        progress: called in this process after each finished episode.

    Returns:
        The manifest of the whole recording.

    Raises:
        WorldModelError: `out` is in use or of another recording; a full disk; a worker that died, hangs, or met
            an error that a user can mend. What was finished is kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM. What was finished is kept.
    """
    with sigterm_interrupts(), RecordingStore(out, provenance, resume=resume) as store:
        with store.filling():
            _work(job, amount, store, crew, progress)
        return store.manifest


def _work(job: Job, amount: Amount, store: RecordingStore, crew: Crew, progress: Progress | None) -> None:
    quota = Quota(amount, sealed=store.sealed, waiting=store.waiting)
    if not quota.missing:
        return
    store.reopen()
    total = sum(store.waiting.values(), store.sealed)
    done = frozenset({*range(store.sealed.episodes), *store.waiting})
    count = min(crew.workers or cores(), quota.missing)
    frames = size = 0
    with Workers(job, count=count, done=done, patience=crew.patience) as workers:
        workers.allow(quota.episodes)
        for index, bytes_ in workers.finished():
            episode = store.take(index)
            quota.finished(index, episode)
            workers.allow(quota.episodes)
            total, frames, size = total + episode, frames + episode.frames, size + bytes_
            if progress:
                progress(Finished(index, frames, size, amount.of_size(total), amount.count, amount.unit))
            store.seal()
            if not quota.missing:
                return


def cores() -> int:
    """Return how many cores this process may use, or, where the system does not tell (macOS), how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
