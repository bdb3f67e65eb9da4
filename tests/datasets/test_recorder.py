"""Recording: the same seed gives the same bytes, however many workers and interruptions there were."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import Finished, RecordConfig, record
from worldmodel.datasets.schema import Ending
from worldmodel.errors import RecordingError, RendererError, WorldModelError

Hashes = Callable[[Path], dict[str, str]]
PENDULUM = RecordConfig(
    env="InvertedPendulum-v5", frames=80, episode_frames=10, steps_per_frame=3, size=16, policy="uniform", workers=2
)


def test_a_recording_of_our_task_is_whole(reacher: Path, reacher_config: RecordConfig) -> None:
    with Recording.open(reacher) as recording:
        assert (recording.episodes, recording.frames) == (6, 60)
        provenance = recording.provenance
        assert provenance.env == "worldmodel/Reacher-v0"
        assert provenance.camera == "top"
        assert "<mujoco" in provenance.mjcf
        assert (provenance.low, provenance.high) == ((-1, -1), (1, 1))
        for index in range(6):
            episode = recording.episode(index)
            assert (episode.index, episode.seed) == (index, reacher_config.seed)
            assert episode.frames.shape == (10, 32, 32, 3)
            assert episode.actions.shape == (18, 2)
            assert episode.ending is Ending.LIMIT
            assert episode.frame_step.tolist() == list(range(0, 19, 2))
            np.testing.assert_allclose(episode.time, episode.frame_step * provenance.control_seconds)
        assert len({recording.episode(index).qpos[0, 0] for index in range(6)}) == 6


def test_an_environment_that_ends_episodes_early_is_recorded_whole(tmp_path: Path) -> None:
    record(PENDULUM, tmp_path / "out")
    with Recording.open(tmp_path / "out") as recording:
        assert recording.episodes == 8
        steps = np.diff(recording.action_start)
        assert np.array_equal(np.diff(recording.frame_start), -(-steps // 3) + 1)
        assert (recording.whole_frames < np.diff(recording.frame_start)).any()
        for index in range(8):
            episode = recording.episode(index)
            assert episode.ending is (Ending.TERMINATED if steps[index] < 27 else episode.ending)
            assert episode.frame_step[-1] == steps[index]
            assert episode.reward.any()


def test_the_number_of_workers_does_not_show(
    reacher: Path, reacher_config: RecordConfig, tmp_path: Path, shard_hashes: Hashes
) -> None:
    record(replace(reacher_config, workers=2), tmp_path / "two")
    assert shard_hashes(tmp_path / "two") == shard_hashes(reacher)


def test_another_seed_gives_another_recording(reacher: Path, reacher_config: RecordConfig, tmp_path: Path) -> None:
    record(replace(reacher_config, seed=4, frames=10), tmp_path / "other")
    with Recording.open(tmp_path / "other") as other, Recording.open(reacher) as recording:
        assert not np.array_equal(other.episode(0).actions, recording.episode(0).actions)


def test_a_longer_recording_goes_on_from_a_shorter_one(
    reacher: Path, reacher_config: RecordConfig, tmp_path: Path, shard_hashes: Hashes
) -> None:
    record(replace(reacher_config, frames=25), tmp_path / "out")
    with Recording.open(tmp_path / "out") as recording:
        assert recording.episodes == 3
    told: list[Finished] = []
    manifest = record(reacher_config, tmp_path / "out", resume=True, progress=told.append)
    assert sorted(finished.episode for finished in told) == [3, 4, 5]
    assert shard_hashes(tmp_path / "out") == shard_hashes(reacher)
    assert sum(entry.episodes for entry in manifest.shards) == 6


def test_resuming_what_is_finished_does_nothing(
    reacher_config: RecordConfig, tmp_path: Path, shard_hashes: Hashes
) -> None:
    record(replace(reacher_config, frames=10), tmp_path / "out")
    before = shard_hashes(tmp_path / "out")
    told: list[Finished] = []
    record(replace(reacher_config, frames=10), tmp_path / "out", resume=True, progress=told.append)
    assert not told
    assert shard_hashes(tmp_path / "out") == before


def test_a_script_may_record_at_its_top_level(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from worldmodel.datasets.recorder import RecordConfig, record\n"
        "config = RecordConfig(frames=10, episode_frames=5, steps_per_frame=1, size=8, workers=2)\n"
        f"print(record(config, Path({str(tmp_path / 'out')!r})).shards[0].frames)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("10\n", "")


def test_progress_counts_every_frame_and_byte(reacher_config: RecordConfig, tmp_path: Path) -> None:
    told: list[Finished] = []
    record(replace(reacher_config, frames=30), tmp_path / "out", progress=told.append)
    assert sum(finished.frames for finished in told) == 30
    assert all(finished.bytes > 1000 for finished in told)


@pytest.mark.parametrize("change", [{"seed": 9}, {"camera": "free"}, {"policy": "zero"}, {"size": 40}])
def test_other_settings_do_not_continue_a_recording(
    change: dict[str, object], reacher: Path, reacher_config: RecordConfig, shard_hashes: Hashes
) -> None:
    before = shard_hashes(reacher)
    with pytest.raises(WorldModelError, match=r"height|" + "|".join(change)):
        record(replace(reacher_config, **change), reacher, resume=True)  # type: ignore[arg-type]
    assert shard_hashes(reacher) == before


def test_a_recording_is_not_overwritten(reacher: Path, reacher_config: RecordConfig) -> None:
    with pytest.raises(RecordingError, match="--resume"):
        record(reacher_config, reacher)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"env": "Nowhere-v0"}, "Unknown environment 'Nowhere-v0'"),
        ({"policy": "lazy"}, "Unknown policy 'lazy'"),
        ({"camera": "left"}, "Unknown camera 'left'.*'top'"),
        ({"quality": "best"}, "Unknown quality 'best'"),
    ],
)
def test_an_unknown_name_is_refused_before_a_folder_is_made(
    change: dict[str, str], message: str, reacher_config: RecordConfig, tmp_path: Path
) -> None:
    with pytest.raises((RendererError, WorldModelError), match=message):
        record(replace(reacher_config, **change), tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change", [{"frames": 0}, {"episode_frames": 1}, {"steps_per_frame": 0}, {"size": 7}, {"workers": -1}, {"seed": -1}]
)
def test_a_number_out_of_range_is_refused(change: dict[str, int]) -> None:
    (name,) = change
    with pytest.raises(WorldModelError, match=f"{name} is {change[name]}; expected"):
        RecordConfig(**change)  # type: ignore[arg-type]
