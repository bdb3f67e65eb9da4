"""`repair`: every whole episode is kept with its bytes and seed, and what is lost is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from worldmodel.datasets import repair as repair_module
from worldmodel.datasets.isolated import Isolated, ReaderDiedError
from worldmodel.datasets.manifest import MANIFEST, Manifest, Provenance
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.repair import repair
from worldmodel.datasets.schema import Episode
from worldmodel.datasets.store import RecordingStore
from worldmodel.datasets.verify import verify
from worldmodel.errors import RecordingError, WorldModelError

MakeEpisode = Callable[[int], Episode]
Hashes = Callable[[Path], dict[str, str]]


@pytest.fixture
def provenance(provenance: Provenance) -> Provenance:
    """The same, with bounds that the actions written by hand keep to."""
    return replace(provenance, low=(-20.0, -20.0), high=(20.0, 20.0))


def damage_chunk(path: Path, column: str, chunk: int) -> range:
    """Flip a bit in a chunk; return the rows that it holds."""
    with h5py.File(path) as file:
        info, rows = file[column].id.get_chunk_info(chunk), file[column].chunks[0]
    with path.open("r+b") as raw:
        raw.seek(info.byte_offset + info.size // 2)
        byte = raw.read(1)[0]
        raw.seek(-1, os.SEEK_CUR)
        raw.write(bytes([byte ^ 4]))
    return range(chunk * rows, (chunk + 1) * rows)


def assert_holds(folder: Path, numbers: list[int], make_episode: MakeEpisode) -> None:
    """Assert that the recording is whole and holds exactly those episodes of the one written by hand."""
    assert not verify(folder, deep=True).findings
    with Recording.open(folder) as recording:
        assert recording.episodes == len(numbers)
        for at, number in enumerate(numbers):
            held, expected = recording.episode(at), make_episode(number)
            assert (held.index, held.seed, held.ending) == (at, expected.seed, expected.ending)
            for name, values in expected.columns():
                np.testing.assert_array_equal(dict(held.columns())[name], values)


def test_a_whole_recording_is_copied_bit_for_bit(
    by_hand: Path, tmp_path: Path, shard_hashes: Hashes, make_episode: MakeEpisode
) -> None:
    before = {path: path.read_bytes() for path in by_hand.rglob("*") if path.is_file()}
    told: list[tuple[int, int, str]] = []
    repaired = repair(by_hand, tmp_path / "new", progress=lambda *now: told.append(now))
    assert (repaired.kept, repaired.frames, repaired.lost, repaired.renumbered) == (tuple(range(7)), 29, (), False)
    assert shard_hashes(tmp_path / "new") == shard_hashes(by_hand)
    assert {path: path.read_bytes() for path in by_hand.rglob("*") if path.is_file()} == before
    assert told[-1][0] == told[-1][1]
    old, new = Manifest.read(by_hand), Manifest.read(tmp_path / "new")
    assert new.provenance.command.startswith(old.provenance.command + "; ")
    assert replace(new, provenance=replace(new.provenance, command=old.provenance.command)) == old


def test_the_folder_where_one_stands_is_told_apart_as_any_other(
    by_hand: Path, tmp_path: Path, shard_hashes: Hashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(by_hand)
    with pytest.raises(RecordingError, match="exists; expected a new folder"):
        repair(by_hand, Path("."))
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    repair(by_hand, Path("."))
    assert shard_hashes(tmp_path / "new") == shard_hashes(by_hand)


@pytest.mark.parametrize("patience", [0.0, -1.0, float("inf"), float("nan")])
def test_a_patience_that_is_none_is_refused(patience: float, by_hand: Path, tmp_path: Path) -> None:
    with pytest.raises(WorldModelError, match=f"patience is {patience}; expected more than 0"):
        repair(by_hand, tmp_path / "new", patience=patience)
    with pytest.raises(WorldModelError, match=f"patience is {patience}; expected more than 0"):
        verify(by_hand, patience=patience)
    assert [path.name for path in tmp_path.iterdir()] == [by_hand.name]


def test_a_damaged_chunk_costs_the_episodes_in_it_and_no_others(
    by_hand: Path, tmp_path: Path, make_episode: MakeEpisode, provenance: Provenance
) -> None:
    path = by_hand / "shard-00000.h5"
    rows = damage_chunk(path, "frames/top", 1)
    with h5py.File(path) as file:
        start = file["episode/frame_start"][:].tolist()
    lost = [row for row in range(len(start) - 1) if start[row] < rows.stop and start[row + 1] > rows.start]
    kept = [number for number in range(7) if number not in lost]
    assert lost
    assert kept[0] < lost[0]
    repaired = repair(by_hand, tmp_path / "new")
    assert list(repaired.kept) == kept
    assert [(each.file, each.first, each.last) for each in repaired.lost] == [(path.name, row, row) for row in lost]
    assert all("chunk 1 of column" in each.why for each in repaired.lost)
    assert repaired.renumbered
    assert_holds(tmp_path / "new", kept, make_episode)


def test_a_recording_with_a_gap_is_not_continued(by_hand: Path, tmp_path: Path, provenance: Provenance) -> None:
    damage_chunk(by_hand / "shard-00000.h5", "frames/top", 0)
    assert repair(by_hand, tmp_path / "new").renumbered
    with pytest.raises(RecordingError, match="policy is 'repaired:uniform'"):
        RecordingStore(tmp_path / "new", provenance, resume=True)
    again = repair(tmp_path / "new", tmp_path / "newer")
    assert not again.lost
    assert Manifest.read(tmp_path / "newer").provenance.policy == "repaired:uniform"


def test_a_recording_that_lost_its_end_is_continued_to_the_same_bytes(
    by_hand: Path, tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode, shard_hashes: Hashes
) -> None:
    shards = Manifest.read(by_hand).shards
    with (by_hand / shards[-1].file).open("r+b") as file:
        file.truncate(1000)
    repaired = repair(by_hand, tmp_path / "new")
    first = 7 - shards[-1].episodes
    assert repaired.kept == tuple(range(first))
    (lost,) = repaired.lost
    assert (lost.file, lost.first, lost.last) == (shards[-1].file, first, 6)
    assert "truncated" in lost.why
    with RecordingStore(tmp_path / "new", provenance, resume=True) as store:
        for episode in map(make_episode, range(first, 7)):
            store.add(episode)
        store.finish(1.0)
    expected = {name: hash_ for name, hash_ in shard_hashes(by_hand).items() if name != shards[-1].file}
    held = shard_hashes(tmp_path / "new")
    assert held.pop(shards[-1].file) == shards[-1].sha256
    assert held == expected


def test_finished_episodes_are_taken_out_of_the_spool(
    tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode
) -> None:
    with RecordingStore(tmp_path / "out", provenance, resume=False) as store:
        for index in (0, 1, 2, 4, 5):
            store.add(make_episode(index))
            if index == 1:
                store.seal(everything=True)
    spooled = tmp_path / "out" / "spool" / "episode-00000004.bin"
    damaged = bytearray(spooled.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    spooled.write_bytes(damaged)
    repaired = repair(tmp_path / "out", tmp_path / "new")
    assert repaired.kept == (0, 1, 2, 5)
    assert [(each.file, each.first) for each in repaired.lost] == [("spool", 3), (f"spool/{spooled.name}", 4)]
    assert_holds(tmp_path / "new", [0, 1, 2, 5], make_episode)


def test_an_episode_of_another_shape_is_lost(tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode) -> None:
    with RecordingStore(tmp_path / "out", provenance, resume=False) as store:
        for index in range(3):
            episode = make_episode(index)
            if index == 1:
                episode = replace(episode, qpos=np.zeros((len(episode), 9)))
            store.add(episode)
    repaired = repair(tmp_path / "out", tmp_path / "new")
    assert repaired.kept == (0, 2)
    assert "qpos" in repaired.lost[0].why
    assert_holds(tmp_path / "new", [0, 2], make_episode)


class Fragile(Isolated):
    """Reading ends its process: in the first two episodes, and at the opening of the last shard."""

    def run(self, reading: Any) -> Iterator[Any]:
        last = reading.source.first + reading.source.episodes == 7
        if last or reading.row < 2:
            if not last:
                yield None
            raise ReaderDiedError("SIGSEGV")
        yield from reading()


def test_an_episode_that_ends_its_reader_is_lost_alone(
    by_hand: Path, tmp_path: Path, make_episode: MakeEpisode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_module, "Isolated", Fragile)
    first = 7 - Manifest.read(by_hand).shards[-1].episodes
    repaired = repair(by_hand, tmp_path / "new")
    assert repaired.kept == tuple(range(2, first))
    assert [(each.first, each.last) for each in repaired.lost] == [(0, 0), (1, 1), (first, 6)]
    assert_holds(tmp_path / "new", list(repaired.kept), make_episode)


def test_nothing_to_keep_leaves_nothing(by_hand: Path, tmp_path: Path) -> None:
    for path in by_hand.glob("*.h5"):
        path.write_bytes(b"gone")
    with pytest.raises(RecordingError, match="is whole"):
        repair(by_hand, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == [by_hand.name]


def test_without_a_manifest_it_says_what_is_missing(by_hand: Path, tmp_path: Path) -> None:
    (by_hand / MANIFEST).unlink()
    with pytest.raises(RecordingError, match="only the manifest knows the environment"):
        repair(by_hand, tmp_path / "new")
    with pytest.raises(RecordingError, match="does not exist"):
        repair(tmp_path / "nothing", tmp_path / "new")


def test_the_way_must_be_free(by_hand: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    for out in (by_hand, tmp_path / "thesis"):
        with pytest.raises(RecordingError, match="expected a new folder"):
            repair(by_hand, out)
    with pytest.raises(RecordingError, match="lies inside"):
        repair(by_hand, by_hand / "new")
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "years of work"
    (tmp_path / "new.partial").mkdir()
    with pytest.raises(RecordingError, match="Remove it"):
        repair(by_hand, tmp_path / "new")
