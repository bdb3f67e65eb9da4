"""Recording: the same seed gives the same bytes, however many workers and interruptions there were."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.production import Finished, cores
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import RecordConfig, record
from worldmodel.datasets.schema import Ending
from worldmodel.datasets.store import RecordingStore
from worldmodel.envs.registry import make_world
from worldmodel.envs.renderer import Renderer, RendererConfig
from worldmodel.envs.world import State
from worldmodel.errors import RecordingError, RendererError, WorldModelError

Hashes = Callable[[Path], dict[str, str]]
PENDULUM = RecordConfig(
    env="InvertedPendulum-v5",
    frames=80,
    episode_frames=10,
    steps_per_frame=3,
    height=16,
    width=24,
    policy="uniform",
    workers=2,
)


def test_a_recording_of_our_task_is_whole(reacher: Path, reacher_config: RecordConfig) -> None:
    with Recording.open(reacher) as recording:
        assert (recording.episodes, recording.frames) == (6, 60)
        provenance = recording.provenance
        assert provenance.env == "worldmodel/Reacher-v0"
        assert provenance.camera == "top"
        assert provenance.simulation is not None
        assert "<mujoco" in provenance.simulation.mjcf
        assert provenance.cameras[0].position[2] > 0.1
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
        # the fewest first episodes that have as many frames
        assert recording.frame_start[-2] < 80 <= recording.frames
        steps = np.diff(recording.action_start)
        assert np.array_equal(np.diff(recording.frame_start), -(-steps // 3) + 1)
        assert (recording.whole_frames < np.diff(recording.frame_start)).any()
        for index in range(recording.episodes):
            episode = recording.episode(index)
            assert episode.frames.shape[1:] == (16, 24, 3)
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


def test_a_gap_is_filled_though_enough_episodes_wait_behind_it(
    reacher_config: RecordConfig, tmp_path: Path, shard_hashes: Hashes
) -> None:
    out, config = tmp_path / "out", replace(reacher_config, frames=None, workers=1)
    record(replace(config, episodes=5), tmp_path / "whole")
    record(replace(config, episodes=1), out)
    with Recording.open(tmp_path / "whole") as whole, RecordingStore(out, whole.provenance, resume=True) as store:
        store.reopen()
        for index in (2, 3, 4):  # as after a kill of a recorder of which one worker was slower than the others
            store.add(whole.stream(index))
    told: list[Finished] = []
    record(replace(config, episodes=2), out, resume=True, progress=told.append)
    assert [finished.episode for finished in told] == [1]
    assert shard_hashes(out) == shard_hashes(tmp_path / "whole")


def test_cores_are_counted_where_the_system_does_not_tell_which_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cores() >= 1
    monkeypatch.delattr("os.sched_getaffinity", raising=False)  # as on macOS
    for there, count in ((8, 8), (None, 1)):
        monkeypatch.setattr("os.cpu_count", lambda there=there: there)
        assert cores() == count


def test_a_script_may_record_at_its_top_level(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from worldmodel.datasets.recorder import RecordConfig, record\n"
        "config = RecordConfig(frames=10, episode_frames=5, steps_per_frame=1, height=8, width=8, workers=2)\n"
        f"print(record(config, Path({str(tmp_path / 'out')!r})).shards[0].frames)\n"
    )
    environment = os.environ | {"LIBGL_ALWAYS_SOFTWARE": "1"}  # nor a warning that a graphics card is not used
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("10\n", "")


def test_progress_counts_every_frame_and_byte(reacher_config: RecordConfig, tmp_path: Path) -> None:
    told: list[Finished] = []
    record(replace(reacher_config, frames=30), tmp_path / "out", progress=told.append)
    assert [finished.frames for finished in told] == [10, 20, 30]
    assert [finished.done for finished in told] == [10, 20, 30]
    assert {(finished.total, finished.unit) for finished in told} == {(30, "frames")}
    assert told[0].bytes > 1000


@pytest.mark.parametrize("change", [{"seed": 9}, {"cameras": ("",)}, {"policy": "zero"}, {"height": 40}])
def test_other_settings_do_not_continue_a_recording(
    change: dict[str, object], reacher: Path, reacher_config: RecordConfig, shard_hashes: Hashes
) -> None:
    before = shard_hashes(reacher)
    with pytest.raises(WorldModelError, match="|".join(change)):
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
        ({"cameras": ("left",)}, "Unknown camera 'left'.*'top'"),
        ({"quality": "best"}, "Unknown quality 'best'"),
    ],
)
def test_an_unknown_name_is_refused_before_a_folder_is_made(
    change: dict[str, object], message: str, reacher_config: RecordConfig, tmp_path: Path
) -> None:
    with pytest.raises((RendererError, WorldModelError), match=message):
        record(replace(reacher_config, **change), tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"episode_frames": 1},
        {"steps_per_frame": 0},
        {"width": 7},
        {"workers": -1},
        {"seed": -1},
        {"patience": 0.0},
        {"patience": float("inf")},
    ],
)
def test_a_number_out_of_range_is_refused(change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(WorldModelError, match=f"{name} is {change[name]}; expected"):
        RecordConfig(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "amount", [{"frames": 0}, {"frames": -5}, {"episodes": 2, "frames": 20}, {"hours": float("inf")}]
)
def test_an_amount_that_is_none_is_refused(amount: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(WorldModelError, match="expected one of them, above zero"):
        record(RecordConfig(**amount), tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_the_amount_may_be_told_in_episodes_or_in_hours(reacher_config: RecordConfig, tmp_path: Path) -> None:
    steps = 9 * 2  # of an episode, 0.02 s each
    for name, change in (
        ("episodes", {"episodes": 3}),
        ("hours", {"hours": (2 * steps + 1) * 0.02 / 3600}),
    ):
        record(replace(reacher_config, frames=None, **change), tmp_path / name)  # type: ignore[arg-type]
        with Recording.open(tmp_path / name) as recording:
            assert recording.episodes == 3


def test_several_cameras_and_channels(tmp_path: Path) -> None:
    config = RecordConfig(
        env="Reacher-v5",
        episodes=1,
        episode_frames=3,
        height=24,
        width=32,
        cameras=("", "top"),
        channels=("rgb", "depth", "segmentation"),
        workers=1,
    )
    robot = tmp_path / "robot.xml"
    robot.write_text(ROBOT)
    record(replace(config, env=str(robot)), tmp_path / "out")
    with Recording.open(tmp_path / "out") as recording:
        episode = recording.episode(0)
        shapes = {name: pictures.shape for name, pictures in episode.pictures.items()}
        assert shapes["frames/top"] == shapes["frames/free"] == (3, 24, 32, 3)
        assert shapes["depth/top"] == (3, 24, 32)
        assert shapes["segmentation/top"] == (3, 24, 32, 2)
        np.testing.assert_allclose(
            episode.pictures["depth/top"][0, 12, 16], 1.9, rtol=1e-3
        )  # 2 m over a box 0.1 m high
        assert episode.pictures["frames/top"][0, 12, 16].argmax() == 0  # a red one
        assert tuple(episode.pictures["segmentation/top"][0, 12, 16]) == (0, 5)


ROBOT = """
<mujoco>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="top" pos="0 0 2"/>
    <body><joint name="turn" type="hinge" axis="0 0 1"/><geom type="box" size="0.3 0.3 0.1" rgba="1 0 0 1"/></body>
  </worldbody>
  <actuator><motor joint="turn" ctrlrange="-1 1" ctrllimited="true"/></actuator>
</mujoco>
"""


def test_frame_t_shows_state_t(reacher: Path) -> None:
    with Recording.open(reacher) as recording:
        world = make_world("worldmodel/Reacher-v0")
        episode = recording.episode(2)
        with Renderer(RendererConfig(32, 32, "top"), model=world.model) as renderer:
            for row in (0, 4, 9):
                world.set_state(State(episode.qpos[row], episode.qvel[row], episode.act[row], 0.0, episode.extra[row]))
                assert np.array_equal(renderer.draw(world.drawable()), episode.frames[row])


def test_a_long_episode_is_written_piece_by_piece(reacher_config: RecordConfig, tmp_path: Path) -> None:
    record(replace(reacher_config, frames=200, episode_frames=200, steps_per_frame=1), tmp_path / "out")
    with Recording.open(tmp_path / "out") as recording:
        episode = recording.episode(0)
        assert episode.frame_step.tolist() == list(range(200))
        assert len(episode.actions) == 199
        assert len(np.unique(episode.frames.reshape(200, -1), axis=0)) > 150


def test_a_replay_repeats_a_recording(reacher: Path, reacher_config: RecordConfig, tmp_path: Path) -> None:
    other = replace(reacher_config, policy=f"replay:{reacher}", seed=99, height=48)
    record(other, tmp_path / "out")
    with Recording.open(tmp_path / "out") as again, Recording.open(reacher) as recording:
        for index in range(recording.episodes):
            there, here = recording.episode(index), again.episode(index)
            for name in ("qpos", "qvel", "time", "actions"):
                assert np.array_equal(getattr(there, name), getattr(here, name)), name


def test_a_policy_of_your_own(reacher_config: RecordConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_policies.py").write_text(
        "import numpy as np\n"
        "class Steady:\n"
        "    def __init__(self, world): self.world = world\n"
        "    def reset(self, rng, episode): self.push = episode / 10\n"
        "    def __call__(self, world): return np.full(2, self.push, np.float32)\n"
        "broken = lambda world: None\n"
    )
    monkeypatch.chdir(tmp_path)
    record(replace(reacher_config, frames=20, policy="my_policies:Steady"), tmp_path / "out")
    with Recording.open(tmp_path / "out") as recording:
        assert np.unique(recording.episode(1).actions).tolist() == pytest.approx([0.1])
    for name, message in (("my_policies:missing", "cannot be imported"), ("my_policies:broken", "returned None")):
        with pytest.raises(WorldModelError, match=message):
            record(replace(reacher_config, policy=name), tmp_path / "none")
