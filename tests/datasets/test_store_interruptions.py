"""A process that is killed before or after any step leaves what --resume makes the same shards of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worldmodel.datasets import shard_writer, store
from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Episode
from worldmodel.datasets.store import RecordingStore

MakeEpisode = Callable[[int], Episode]
EPISODES = 5


class Killed(BaseException):
    """Stands for SIGKILL: nothing that the process does after it has an effect."""


class Killer:
    """Kill the process at its step number `at`: before that step, or after it."""

    def __init__(self, at: int, *, after: bool) -> None:
        self._left, self._after = at, after
        self.dead = False

    def watch(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return `step` as one that a kill may hit."""

        def watched(*arguments: Any, **options: Any) -> Any:
            if self.dead:
                raise Killed
            self._left -= 1
            self.dead = self._left < 0
            if self.dead and not self._after:
                raise Killed
            answer = step(*arguments, **options)
            if self.dead:
                raise Killed
            return answer

        return watched


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch, provenance: Provenance) -> Callable[[Killer], None]:
    """Have a killer watch every step that changes the folder; two episodes fill a shard."""
    monkeypatch.setattr(store, "SHARD_BYTES", 8 * provenance.picture_bytes)
    monkeypatch.setattr(shard_writer, "sync", lambda path: None)
    monkeypatch.setattr(store, "sync", lambda path: None)
    steps = [
        (Path, "rename"),
        (Path, "unlink"),
        (Path, "write_text"),
        (Path, "mkdir"),
        (Path, "rmdir"),
        (store.ShardWriter, "append"),
        (store.SpoolWriter, "add"),
        (store, "sha256_of"),
    ]
    unwatched = [getattr(place, name) for place, name in steps]

    def watch(killer: Killer) -> None:
        for (place, name), step in zip(steps, unwatched, strict=True):
            monkeypatch.setattr(place, name, killer.watch(step))

    return watch


def record(folder: Path, provenance: Provenance, make: MakeEpisode, episodes: int, played: list[int]) -> None:
    """Record what is missing of the first episodes, as the recorder does; note in `played` what was finished."""
    resume = (folder / "manifest.json").exists()
    with RecordingStore(folder, provenance, resume=resume) as owner:
        if owner.sealed.episodes + len(owner.waiting) < episodes:
            owner.reopen()
            missing = set(range(owner.sealed.episodes, episodes)) - set(owner.waiting)
            for index in sorted(missing):
                owner.add(make(index))
                played.append(index)
                owner.seal()
        owner.finish(1.0)


@pytest.mark.parametrize("after", [False, True], ids=["before a step", "after a step"])
@pytest.mark.parametrize("first", [0, 3], ids=["a new recording", "a recording of three"])
def test_a_kill_at_any_step_does_not_show_in_the_shards(
    first: int,
    after: bool,
    kill: Callable[[Killer], None],
    tmp_path: Path,
    provenance: Provenance,
    make_episode: MakeEpisode,
    shard_hashes: Callable[[Path], dict[str, str]],
) -> None:
    record(tmp_path / "whole", provenance, make_episode, EPISODES, [])
    expected = shard_hashes(tmp_path / "whole")
    assert len(expected) == 3
    survived, at = False, 0
    while not survived:
        folder, played = tmp_path / f"killed-{at}", list[int]()
        kill(Killer(10**9, after=after))
        if first:
            record(folder, provenance, make_episode, first, played)
        kill(Killer(at, after=after))
        try:
            record(folder, provenance, make_episode, EPISODES, played)
            survived = True
        except Killed:
            kill(Killer(10**9, after=after))
            record(folder, provenance, make_episode, EPISODES, played)
        assert len(set(played)) == len(played), f"killed at step {at}, what was finished was played again"
        assert shard_hashes(folder) == expected, f"killed at step {at}"
        assert {path.name for path in folder.iterdir()} == {".lock", "manifest.json", *expected}, f"step {at}"
        with Recording.open(folder) as recording:
            assert [recording.episode(index).index for index in range(EPISODES)] == list(range(EPISODES))
        at += 1
    assert at > 20
