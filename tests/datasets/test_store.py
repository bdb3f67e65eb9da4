"""The folder of a recording that is being made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import MANIFEST, Episode, Manifest, Provenance
from worldmodel.datasets.store import RecordingStore, spool_episode, spool_path
from worldmodel.errors import RecordingError

MakeEpisode = Callable[[int], Episode]
Hashes = Callable[[Path], dict[str, str]]


@pytest.fixture
def folder(tmp_path: Path, provenance: Provenance, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to record; two episodes fill a shard."""
    frame = provenance.height * provenance.width * 3
    monkeypatch.setattr("worldmodel.datasets.store.SHARD_BYTES", 2 * provenance.episode_frames * frame)
    return tmp_path / "recording"


@pytest.fixture
def expected(folder: Path, provenance: Provenance, make_episode: MakeEpisode, shard_hashes: Hashes) -> dict[str, str]:
    """The shards of five episodes recorded without interruption."""
    whole = folder.with_name("whole")
    record(whole, provenance, make_episode, range(5))
    return shard_hashes(whole)


def record(folder: Path, provenance: Provenance, make: MakeEpisode, episodes: range, *, resume: bool = False) -> None:
    store = RecordingStore(folder, provenance, resume=resume)
    store.reopen()
    for index in episodes:
        spool_episode(folder, make(index), "top")
        store.seal()
    store.finish(1.0)
    store.close()


def test_shards_are_cut_where_they_are_full(expected: dict[str, str], folder: Path) -> None:
    assert list(expected) == ["shard-00000.h5", "shard-00001.h5", "shard-00002.h5"]
    manifest = Manifest.read(folder.with_name("whole"))
    assert [entry.episodes for entry in manifest.shards] == [2, 2, 1]
    assert [entry.sha256 for entry in manifest.shards] == list(expected.values())


def test_a_finished_recording_holds_nothing_else(expected: dict[str, str], folder: Path) -> None:
    left = {path.name for path in folder.with_name("whole").iterdir()} - {".lock"}
    assert left == {MANIFEST, *expected}


@pytest.mark.parametrize("stop", range(5))
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


def test_episodes_that_come_in_another_order_make_the_same_shards(
    folder: Path, provenance: Provenance, make_episode: MakeEpisode, shard_hashes: Hashes, expected: dict[str, str]
) -> None:
    store = RecordingStore(folder, provenance, resume=False)
    for index in (1, 4, 2, 0, 3):
        spool_episode(folder, make_episode(index), "top")
        store.seal()
    store.finish(1.0)
    store.close()
    assert shard_hashes(folder) == expected


def test_episodes_behind_a_gap_wait_for_a_resume(
    folder: Path, provenance: Provenance, make_episode: MakeEpisode, shard_hashes: Hashes, expected: dict[str, str]
) -> None:
    store = RecordingStore(folder, provenance, resume=False)
    for index in (0, 1, 2, 4):
        spool_episode(folder, make_episode(index), "top")
    store.finish(1.0)
    store.close()
    with Recording.open(folder) as recording:
        assert recording.episodes == 3
    store = RecordingStore(folder, provenance, resume=True)
    assert store.finished() == {0, 1, 2, 4}
    store.close()
    record(folder, provenance, make_episode, range(3, 4), resume=True)
    assert shard_hashes(folder) == expected


def test_what_a_power_cut_left_unreadable_is_recorded_again(
    folder: Path, provenance: Provenance, make_episode: MakeEpisode, shard_hashes: Hashes, expected: dict[str, str]
) -> None:
    store = RecordingStore(folder, provenance, resume=False)
    for index in range(5):
        spool_episode(folder, make_episode(index), "top")
    store.close()
    spool_path(folder, 1).write_bytes(b"")
    spool_path(folder, 3).write_bytes(spool_path(folder, 3).read_bytes()[:-500])
    spool_path(folder, 4).with_suffix(".h5.partial").write_bytes(b"half")
    store = RecordingStore(folder, provenance, resume=True)
    assert store.finished() == {0, 2, 4}
    for index in (1, 3):
        spool_episode(folder, make_episode(index), "top")
    store.finish(1.0)
    store.close()
    assert shard_hashes(folder) == expected


def test_a_kill_between_shard_and_spool_does_no_harm(
    folder: Path, provenance: Provenance, make_episode: MakeEpisode, shard_hashes: Hashes, expected: dict[str, str]
) -> None:
    record(folder, provenance, make_episode, range(4))
    (folder / "spool").mkdir()
    spool_episode(folder, make_episode(3), "top")  # in a shard already
    (folder / "shard-00002.h5").write_bytes(b"renamed, not yet in the manifest")
    record(folder, provenance, make_episode, range(4, 5), resume=True)
    assert shard_hashes(folder) == expected


def test_a_second_owner_is_refused(folder: Path, provenance: Provenance) -> None:
    store = RecordingStore(folder, provenance, resume=False)
    for resume in (False, True):
        with pytest.raises(RecordingError, match="in use"):
            RecordingStore(folder, provenance, resume=resume)
    store.close()
    RecordingStore(folder, provenance, resume=True).close()


def test_a_recording_is_not_overwritten(folder: Path, provenance: Provenance, expected: dict[str, str]) -> None:
    whole = folder.with_name("whole")
    before = {path: path.stat().st_mtime_ns for path in whole.glob("[!.]*")}
    with pytest.raises(RecordingError, match=r"already holds a recording.*--resume"):
        RecordingStore(whole, provenance, resume=False)
    assert {path: path.stat().st_mtime_ns for path in whole.glob("[!.]*")} == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("env", "other"),
        ("camera", "side"),
        ("height", 9),
        ("quality", "faithful"),
        ("steps_per_frame", 4),
        ("episode_frames", 7),
        ("policy", "zero"),
        ("seed", 8),
        ("mjcf_sha256", "1"),
        ("worldmodel", "9"),
        ("mujoco", "9"),
        ("low", (-2.0, -2.0)),
    ],
)
def test_another_setting_is_refused_by_name(name: str, value: object, folder: Path, provenance: Provenance) -> None:
    RecordingStore(folder, provenance, resume=False).close()
    with pytest.raises(RecordingError, match=rf"its {name} is .* would be "):
        RecordingStore(folder, replace(provenance, **{name: value}), resume=True)  # type: ignore[arg-type]


def test_another_python_may_continue(folder: Path, provenance: Provenance) -> None:
    RecordingStore(folder, provenance, resume=False).close()
    RecordingStore(folder, replace(provenance, python="4"), resume=True).close()


def test_episodes_without_a_manifest_are_refused(
    folder: Path, provenance: Provenance, make_episode: MakeEpisode
) -> None:
    (folder / "spool").mkdir(parents=True)
    spool_episode(folder, make_episode(0), "top")
    with pytest.raises(RecordingError, match=MANIFEST):
        RecordingStore(folder, provenance, resume=False)


def test_a_file_in_the_way_is_refused(folder: Path, provenance: Provenance) -> None:
    folder.write_text("not a folder")
    with pytest.raises(RecordingError, match="recording' failed"):
        RecordingStore(folder, provenance, resume=False)


def test_time_spent_adds_up(folder: Path, provenance: Provenance, make_episode: MakeEpisode) -> None:
    record(folder, provenance, make_episode, range(1))
    record(folder, provenance, make_episode, range(1, 2), resume=True)
    assert Manifest.read(folder).seconds == 2.0
    assert np.isfinite(Manifest.read(folder).seconds)
