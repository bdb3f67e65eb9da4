"""`verify`: a whole recording passes, and each kind of damage is found where it is."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from worldmodel.datasets.isolated import Isolated, ReaderDiedError
from worldmodel.datasets.manifest import MANIFEST, Manifest, Provenance
from worldmodel.datasets.schema import Ending, Episode
from worldmodel.datasets.store import RecordingStore
from worldmodel.datasets.verify import Finding, verify
from worldmodel.errors import RecordingError

MakeEpisode = Callable[[int], Episode]


@pytest.fixture
def provenance(provenance: Provenance) -> Provenance:
    """The same, with bounds that the actions written by hand keep to."""
    return replace(provenance, low=(-20.0, -20.0), high=(20.0, 20.0))


def write(folder: Path, provenance: Provenance, *episodes: Episode, finish: bool = True) -> Path:
    with RecordingStore(folder, provenance, resume=False) as store:
        for episode in episodes:
            store.add(episode)
        if finish:
            store.finish(seconds=1.0)
    return folder


def flip_bit_in_chunk(path: Path, column: str, chunk: int) -> None:
    with h5py.File(path) as file:
        info = file[column].id.get_chunk_info(chunk)
    with path.open("r+b") as raw:
        raw.seek(info.byte_offset + info.size // 2)
        byte = raw.read(1)[0]
        raw.seek(-1, os.SEEK_CUR)
        raw.write(bytes([byte ^ 4]))


def only(findings: tuple[Finding, ...], severity: str, text: str) -> Finding:
    assert len(findings) == 1, findings
    assert findings[0].severity == severity
    assert text in findings[0].text
    return findings[0]


@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_recording_has_no_finding(deep: bool, by_hand: Path) -> None:
    told: list[tuple[int, int, str]] = []
    report = verify(by_hand, deep=deep, progress=lambda *now: told.append(now))
    assert report.findings == ()
    manifest = Manifest.read(by_hand)
    assert (report.shards, report.episodes, report.frames) == (len(manifest.shards), 7, 29)
    assert told[-1] == (29, 29, manifest.shards[-1].file)


def test_what_the_recorder_makes_has_no_finding(reacher: Path) -> None:
    assert verify(reacher, deep=True).findings == ()


@pytest.mark.parametrize("what", ["nothing", "a file", "an empty folder", "other files"])
def test_what_is_no_recording_is_refused(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "it"
    if what == "a file":
        folder.write_text("")
    elif what != "nothing":
        folder.mkdir()
        if what == "other files":
            (folder / "letter.txt").write_text("Dear all,")
    with pytest.raises(RecordingError, match="No recording"):
        verify(folder)


def test_a_damaged_manifest_is_an_error(by_hand: Path) -> None:
    (by_hand / MANIFEST).write_text("{")
    assert "not JSON" in verify(by_hand).errors[0].text
    (by_hand / MANIFEST).unlink()
    assert "holds none" in verify(by_hand).errors[0].text


def test_a_missing_shard_is_an_error_and_the_others_are_still_checked(by_hand: Path) -> None:
    (by_hand / "shard-00001.h5").unlink()
    report = verify(by_hand, deep=True)
    assert only(report.findings, "error", "missing").file == "shard-00001.h5"
    assert report.episodes == 7 - Manifest.read(by_hand).shards[1].episodes


def test_leftovers_are_warnings(by_hand: Path) -> None:
    (by_hand / "shard-00003.h5.partial").write_bytes(b"half")
    (by_hand / "shard-00009.h5").write_bytes(b"who knows")
    (by_hand / "spool").mkdir()
    (by_hand / "spool" / "episode-00000007.bin.partial").write_bytes(b"half")
    report = verify(by_hand)
    assert not report.errors
    assert sorted(finding.file for finding in report.findings) == [
        "shard-00003.h5.partial",
        "shard-00009.h5",
        "spool/episode-00000007.bin.partial",
    ]


def test_an_interrupted_recording_has_warnings_and_a_damaged_spool_errors(
    tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode
) -> None:
    folder = write(tmp_path / "out", provenance, *map(make_episode, range(3)), finish=False)
    report = verify(folder, deep=True)
    assert not report.errors
    assert [finding.episode for finding in report.findings] == [0, 1, 2]
    assert all("--resume" in finding.text for finding in report.findings)
    path = folder / "spool" / "episode-00000001.bin"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    (error,) = verify(folder, deep=True).errors
    assert error.episode == 1
    path.write_bytes(damaged[:100])
    assert "has no end" in only(verify(folder).errors, "error", "damaged").text


@pytest.mark.parametrize("column", ["frames/top", "qpos", "actions"])
def test_a_flipped_bit_is_found_by_deep_and_told_with_its_episode(column: str, by_hand: Path) -> None:
    flip_bit_in_chunk(by_hand / "shard-00001.h5", column, 0)
    assert verify(by_hand).findings == ()
    hash_, *rest = verify(by_hand, deep=True).errors
    assert "SHA-256" in hash_.text
    assert {finding.file for finding in rest} == {"shard-00001.h5"}
    first = Manifest.read(by_hand).shards[0].episodes
    assert {finding.episode for finding in rest if finding.episode is not None} <= set(range(first, 7))
    assert rest


BAD: dict[str, tuple[Callable[[Episode], Episode], str]] = {
    "frame steps": (
        lambda e: replace(e, frame_step=np.array([0, 3, 5, 9, 12])),
        "control steps apart",
    ),
    "no start": (
        lambda e: replace(e, frame_step=e.frame_step + np.array([1, 0, 0, 0, 0])),
        "first frame is of control step 1",
    ),
    "time": (lambda e: replace(e, time=e.time[::-1].copy()), "time does not rise"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_episode_that_breaks_the_format_is_an_error(
    name: str, tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode
) -> None:
    change, text = BAD[name]
    folder = write(tmp_path / "out", provenance, make_episode(0), make_episode(1))
    assert not verify(folder, deep=True).findings
    folder = write(tmp_path / "bad", provenance, change(make_episode(0)), make_episode(1))
    found = verify(folder, deep=True).errors
    assert found[0].episode == 0
    assert any(text in finding.text for finding in found)
    assert all(finding.episode == 0 for finding in found)


def pictures(episode: Episode, frames: np.ndarray) -> Episode:
    return replace(episode, pictures={"frames/top": np.ascontiguousarray(frames, np.uint8)})


ODD: dict[str, tuple[Callable[[Episode, Episode], Episode], str]] = {
    "black": (lambda e, _: pictures(e, e.frames * [[[[0]]], *[[[[1]]]] * 5]), "1 of 6 frames are wholly black"),
    "one colour": (lambda e, _: pictures(e, e.frames * 0 + 9), "6 of 6 frames have one colour, first frame 0"),
    "still": (lambda e, _: pictures(e, np.repeat(e.frames[:1], 6, axis=0)), "never changes"),
    "stale": (lambda e, before: pictures(e, [before.frames[-1], *e.frames[1:]]), "stale"),
    "bounds": (
        lambda e, _: replace(e, actions=e.actions * 0 + np.float32([[20.5, 0]])),
        "15 of 15 actions are outside the actuators' bounds, by up to 0.5",
    ),
    "ending": (
        lambda e, _: replace(
            e,
            ending=Ending.LIMIT,
            frame_step=np.array([0, 3, 6, 9, 12, 14]),
            actions=e.actions[:14] * 0,
            reward=e.reward[:14],
        ),
        "last frame comes early",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_looks_wrong_is_a_warning(
    name: str, tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode
) -> None:
    change, text = ODD[name]
    before, odd = make_episode(0), make_episode(1)
    odd = change(replace(odd, actions=odd.actions * 0), before)
    report = verify(write(tmp_path / "out", provenance, before, odd), deep=True)
    assert not report.errors
    assert text in " ".join(finding.text for finding in report.findings if finding.episode == 1)
    assert not [finding for finding in report.findings if finding.episode == 0]


def test_a_world_at_rest_may_look_the_same(tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode) -> None:
    episode = make_episode(0)
    still = pictures(replace(episode, qpos=np.ones_like(episode.qpos)), np.repeat(episode.frames[:1], 5, axis=0))
    assert not verify(write(tmp_path / "out", provenance, still), deep=True).findings


@dataclass(frozen=True)
class Dies:
    """A reading that yields once and then ends its process or hangs it."""

    how: str

    def __call__(self) -> Iterator[int]:
        yield 1
        if self.how == "hang":
            time.sleep(100)
        elif self.how == "exit":
            os._exit(3)
        elif self.how == "memory":
            raise MemoryError
        elif self.how == "refuse":
            raise RecordingError("no")
        elif self.how != "live":
            os.kill(os.getpid(), signal.SIGSEGV)


def test_a_reading_that_crashes_or_hangs_is_told_and_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with Isolated(patience=20.0) as reader:  # a new process may take seconds to start
        for how, text in (("crash", "SIGSEGV"), ("exit", "exit code 3"), ("hang", "hangs"), ("memory", "MemoryError")):
            results: list[int] = []
            with monkeypatch.context() as patch:
                if how == "hang":  # in the process of the reading before, which is there already
                    patch.setattr(reader, "_patience", 1.0)
                with pytest.raises(ReaderDiedError, match=text):
                    results.extend(reader.run(Dies(how)))
            assert list(reader.run(Dies("live"))) == [1]
        with pytest.raises(RecordingError, match="no") as refused:
            list(reader.run(Dies("refuse")))
        assert not isinstance(refused.value, ReaderDiedError)
