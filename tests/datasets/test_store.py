"""The folder of a recording that is being made."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.manifest import MANIFEST, Manifest, Provenance
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Episode
from worldmodel.datasets.shard_writer import ShardSize
from worldmodel.datasets.store import RecordingStore, disk_errors, spool_path
from worldmodel.errors import RecordingError

MakeEpisode = Callable[[int], Episode]
Hashes = Callable[[Path], dict[str, str]]


@pytest.fixture
def folder(tmp_path: Path, provenance: Provenance, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to record; eight frames fill a shard, which two episodes have."""
    monkeypatch.setattr("worldmodel.datasets.store.SHARD_BYTES", 8 * provenance.picture_bytes)
    return tmp_path / "recording"


@pytest.fixture
def expected(folder: Path, provenance: Provenance, make_episode: MakeEpisode, shard_hashes: Hashes) -> dict[str, str]:
    """The shards of five episodes recorded without interruption."""
    whole = folder.with_name("whole")
    record(whole, provenance, make_episode, range(5))
    return shard_hashes(whole)


def spool(store: RecordingStore, episode: Episode) -> None:
    store.add(episode)


def record(
    folder: Path, provenance: Provenance, make: MakeEpisode, episodes: Iterable[int], *, resume: bool = False
) -> None:
    with RecordingStore(folder, provenance, resume=resume) as store:
        store.reopen()
        for index in episodes:
            spool(store, make(index))
            store.seal()
        store.finish(1.0)


def test_shards_are_cut_where_they_are_full(expected: dict[str, str], folder: Path) -> None:
    assert list(expected) == ["shard-00000.h5", "shard-00001.h5", "shard-00002.h5"]
    manifest = Manifest.read(folder.with_name("whole"))
    assert [entry.episodes for entry in manifest.shards] == [2, 2, 1]
    assert [entry.frames for entry in manifest.shards] == [5 + 6, 3 + 5, 2]
    assert [entry.sha256 for entry in manifest.shards] == list(expected.values())


def test_a_finished_recording_holds_nothing_else(expected: dict[str, str], folder: Path) -> None:
    left = {path.name for path in folder.with_name("whole").iterdir()} - {".lock"}
    assert left == {MANIFEST, *expected}


@pytest.mark.parametrize("stop", range(6))
def test_an_interruption_does_not_show_in_the_shards(
    stop: int,
    folder: Path,
    provenance: Provenance,
    make_episode: MakeEpisode,
    shard_hashes: Hashes,
    expected: dict[str, str],
) -> None:
    record(folder, provenance, make_episode, range(stop))
    record(folder, provenance, make_episode, range(stop, 5), resume=True)
    assert shard_hashes(folder) == expected
    with Recording.open(folder) as recording:
        assert [recording.episode(index).index for index in range(5)] == list(range(5))


def test_episodes_are_on_the_disk_before_the_shard_that_they_leave_goes(
    folder: Path, provenance: Provenance, make_episode: MakeEpisode, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(folder, provenance, make_episode, range(3))
    synced: list[Path] = []

    def sync(path: Path) -> None:
        assert len(Manifest.read(folder).shards) == 2 or path in (folder, folder / f"{MANIFEST}.partial")
        synced.append(path)

    with RecordingStore(folder, provenance, resume=True) as store:
        monkeypatch.setattr("worldmodel.datasets.store.sync", sync)
        store.reopen()
    assert synced == [
        spool_path(folder, 2),
        folder / "spool",
        folder,
        folder / f"{MANIFEST}.partial",
        folder,
    ]
    assert len(Manifest.read(folder).shards) == 1


def test_episodes_that_come_in_another_order_make_the_same_shards(
    folder: Path, provenance: Provenance, make_episode: MakeEpisode, shard_hashes: Hashes, expected: dict[str, str]
) -> None:
    record(folder, provenance, make_episode, (1, 4, 2, 0, 3))
    assert shard_hashes(folder) == expected


def test_what_is_sealed_and_what_waits_is_told(folder: Path, provenance: Provenance, make_episode: MakeEpisode) -> None:
    with RecordingStore(folder, provenance, resume=False) as store:
        assert store.sealed == ShardSize(0, 0, 0)
        assert store.waiting == {}
        for index in (2, 0, 1):
            spool(store, make_episode(index))
        assert store.sealed == ShardSize(0, 0, 0)
        assert store.waiting == {index: ShardSize.of(make_episode(index)) for index in range(3)}
        store.seal()
        assert store.sealed == ShardSize.of(make_episode(0)) + ShardSize.of(make_episode(1))
        assert store.waiting == {2: ShardSize.of(make_episode(2))}


def test_episodes_behind_a_gap_wait_for_a_resume(
    folder: Path, provenance: Provenance, make_episode: MakeEpisode, shard_hashes: Hashes, expected: dict[str, str]
) -> None:
    record(folder, provenance, make_episode, (0, 1, 2, 4))
    with Recording.open(folder) as recording:
        assert recording.episodes == 3
    with RecordingStore(folder, provenance, resume=True) as store:
        assert store.sealed.episodes == 3
        assert set(store.waiting) == {4}
    record(folder, provenance, make_episode, range(3, 4), resume=True)
    assert shard_hashes(folder) == expected


def test_what_a_power_cut_left_unreadable_is_recorded_again(
    folder: Path, provenance: Provenance, make_episode: MakeEpisode, shard_hashes: Hashes, expected: dict[str, str]
) -> None:
    with RecordingStore(folder, provenance, resume=False) as store:
        for index in range(5):
            spool(store, make_episode(index))
    spool_path(folder, 1).write_bytes(b"")
    spool_path(folder, 3).write_bytes(spool_path(folder, 3).read_bytes()[:-500])
    spool_path(folder, 2).rename(spool_path(folder, 5))  # says that it is episode 2
    spool_path(folder, 4).with_suffix(".bin.partial").write_bytes(b"half")
    with RecordingStore(folder, provenance, resume=True) as store:
        assert set(store.waiting) == {0, 4}
        for index in (1, 2, 3):
            spool(store, make_episode(index))
        store.finish(1.0)
    assert shard_hashes(folder) == expected
    assert not (folder / "spool").exists()


def test_a_kill_between_shard_and_spool_does_no_harm(
    folder: Path, provenance: Provenance, make_episode: MakeEpisode, shard_hashes: Hashes, expected: dict[str, str]
) -> None:
    record(folder, provenance, make_episode, (0, 1, 2, 3))
    elsewhere = folder.with_name("elsewhere")
    with RecordingStore(elsewhere, provenance, resume=False) as store:
        spool(store, make_episode(3))
    (elsewhere / "spool").rename(folder / "spool")  # an episode that is in a shard already
    (folder / "shard-00002.h5").write_bytes(b"renamed, not yet in the manifest")
    record(folder, provenance, make_episode, range(4, 5), resume=True)
    assert shard_hashes(folder) == expected


def test_a_second_owner_is_refused(folder: Path, provenance: Provenance) -> None:
    with RecordingStore(folder, provenance, resume=False):
        for resume in (False, True):
            with pytest.raises(RecordingError, match="in use"):
                RecordingStore(folder, provenance, resume=resume)
    RecordingStore(folder, provenance, resume=True).close()


def test_a_recording_is_not_overwritten(folder: Path, provenance: Provenance, expected: dict[str, str]) -> None:
    whole = folder.with_name("whole")
    before = {path: path.stat().st_mtime_ns for path in whole.glob("[!.]*")}
    with pytest.raises(RecordingError, match=r"already holds a recording.*--resume"):
        RecordingStore(whole, provenance, resume=False)
    assert {path: path.stat().st_mtime_ns for path in whole.glob("[!.]*")} == before


def test_episodes_without_a_manifest_are_refused(
    folder: Path, provenance: Provenance, make_episode: MakeEpisode
) -> None:
    with RecordingStore(folder, provenance, resume=False) as store:
        spool(store, make_episode(0))
    (folder / MANIFEST).unlink()
    for resume in (False, True):
        with pytest.raises(RecordingError, match=MANIFEST):
            RecordingStore(folder, provenance, resume=resume)
    assert spool_path(folder, 0).exists()


def test_a_file_in_the_way_is_refused(folder: Path, provenance: Provenance) -> None:
    folder.write_text("not a folder")
    with pytest.raises(RecordingError, match="recording' failed"):
        RecordingStore(folder, provenance, resume=False)


@pytest.mark.parametrize(("number", "remedy"), [(errno.ENOSPC, "Free space there"), (errno.EIO, "Mend that")])
def test_what_a_disk_refuses_is_told_with_a_remedy(number: int, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=rf"'/there' failed: .* {remedy}.*--resume"), disk_errors(tmp_path):
        raise OSError(number, "bad luck", "/there")


def test_time_spent_adds_up(folder: Path, provenance: Provenance, make_episode: MakeEpisode) -> None:
    record(folder, provenance, make_episode, range(1))
    record(folder, provenance, make_episode, range(1, 2), resume=True)
    assert Manifest.read(folder).seconds == 2.0
    assert np.isfinite(Manifest.read(folder).seconds)
