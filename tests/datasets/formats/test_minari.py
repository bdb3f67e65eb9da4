"""Minari datasets: what Minari reads of ours, and what comes of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from worldmodel.datasets.formats.exchange import export_recording, import_recording
from worldmodel.datasets.formats.source import SourceConfig
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Ending
from worldmodel.errors import WorldModelError

minari = pytest.importorskip("minari", reason="minari is not installed: pip install 'worldmodel[minari]'")

# what Minari says of datasets without an author
pytestmark = pytest.mark.filterwarnings("ignore:.*is set to None", "ignore:env_spec is None")

Record = Callable[..., Recording]
SIDE = 40  # Minari packs pictures from 32 pixels on as JPEG


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Minari looks for datasets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("steps_per_frame", [1, 3])
def test_minari_reads_what_we_write(record: Record, root: Path, steps_per_frame: int) -> None:
    recording = record((12, 70, 4), steps_per_frame=steps_per_frame)
    export_recording(recording, root / "reacher-v0", format="minari")
    dataset = minari.load_dataset("reacher-v0")
    assert "reacher-v0" in minari.list_local_datasets()
    assert dataset.total_episodes == 3
    assert dataset.total_steps == recording.frames - 3
    assert dataset.action_space == Box(-1, 1, (2 * steps_per_frame,), np.float32)
    for held, expected in zip(
        dataset.iterate_episodes(), (recording.episode(index) for index in range(3)), strict=True
    ):
        np.testing.assert_array_equal(held.observations["pixels"], expected.pictures["frames/top"])
        np.testing.assert_array_equal(held.observations["pixels_wrist:left"], expected.pictures["frames/wrist:left"])
        np.testing.assert_array_equal(held.observations["qpos"], expected.qpos)
        assert dataset.observation_space.contains({name: rows[0] for name, rows in held.observations.items()})
        assert len(held.actions) == len(expected) - 1
        assert dataset.action_space.contains(held.actions[0])
        if steps_per_frame == 1:
            np.testing.assert_array_equal(held.actions, expected.actions)
            np.testing.assert_array_equal(held.rewards, expected.reward)
        assert held.rewards.sum() == pytest.approx(expected.reward.sum())
        assert held.terminations[-1] == (expected.ending == Ending.TERMINATED)
        assert held.truncations[-1] == (expected.ending != Ending.TERMINATED)
        assert not held.terminations[:-1].any()


def test_the_folder_must_be_an_id(record: Record, root: Path) -> None:
    with pytest.raises(WorldModelError, match="'my data' is no id of a Minari dataset"):
        export_recording(record((3,)), root / "my data", format="minari")


def make(
    name: str,
    observation: Any,
    space: Any,
    *,
    action_space: Any,
    lengths: tuple[int, ...] = (3, 70),
    jpeg: bool = False,
) -> list[Any]:
    """Have Minari write a dataset; return its episodes."""
    buffer = minari.data_collector.EpisodeBuffer
    rng = np.random.default_rng(0)
    episodes = [
        buffer(
            id=index,
            seed=index + 5,
            observations=observation(rng, steps + 1),
            actions=[np.asarray(action_space.sample()) for _ in range(steps)],
            rewards=list(rng.normal(size=steps)),
            terminations=[False] * (steps - 1) + [index == 0],
            truncations=[False] * (steps - 1) + [index == 1],
            infos={"qpos": rng.normal(size=(steps + 1, 2))},
        )
        for index, steps in enumerate(lengths)
    ]
    minari.create_dataset_from_buffers(
        name, episodes, observation_space=space, action_space=action_space, jpeg_encoding=jpeg
    )
    return episodes


def frames(rng: np.random.Generator, count: int) -> list[Any]:
    base = np.add.outer(np.arange(SIDE), np.arange(SIDE))[None, :, :, None] + rng.integers(0, 90, (count, 1, 1, 3))
    return list(base.astype(np.uint8))


PICTURES = Box(0, 255, (SIDE, SIDE, 3), np.uint8)


@pytest.mark.parametrize("jpeg", [False, True])
def test_a_dataset_of_somebody_else(root: Path, jpeg: bool) -> None:
    space = Dict({"camera": PICTURES, "state": Box(-9, 9, (3,), np.float64)})
    written = make(
        "door/expert-v1",
        lambda rng, count: {"camera": frames(rng, count), "state": list(rng.uniform(-1, 1, (count, 3)))},
        space,
        action_space=Box(np.float32([-2, 0]), np.float32([2, 5])),
        jpeg=jpeg,
    )
    imported = import_recording(["door/expert-v1"], root / "out", config=SourceConfig(fps=25))
    assert imported.notes == ()
    recording = Recording.open(root / "out")
    told = recording.provenance
    assert (told.env, told.simulation, told.policy) == ("minari:door/expert-v1", None, "")
    assert (told.low, told.high, told.control_seconds) == ((-2, 0), (2, 5), 0.04)
    assert [camera.name for camera in told.cameras] == ["camera"]
    held = minari.load_dataset("door/expert-v1")
    for index, episode in enumerate(written):
        here = recording.episode(index)
        np.testing.assert_array_equal(here.frames, held[index].observations["camera"])
        np.testing.assert_array_equal(here.actions, np.float32(episode.actions))
        np.testing.assert_array_equal(here.reward, episode.rewards)
        np.testing.assert_array_equal(here.qpos, episode.infos["qpos"])
        np.testing.assert_allclose(here.time, np.arange(len(here)) / 25)
        assert here.seed == index + 5
        assert here.ending == (Ending.TERMINATED, Ending.TRUNCATED)[index]


def test_pictures_alone_and_bounds_of_the_data(root: Path) -> None:
    written = make("pictures-v0", frames, PICTURES, action_space=Box(-np.inf, np.inf, (2,), np.float32))
    imported = import_recording([str(root / "pictures-v0")], root / "out", config=SourceConfig(24, 32))
    assert "20 frames per second assumed; --fps" in imported.notes[0]
    recording = Recording.open(root / "out")
    assert recording.episode(1).frames.shape == (71, 24, 32, 3)
    actions = np.concatenate([episode.actions for episode in written])
    np.testing.assert_allclose(recording.provenance.low, actions.min(axis=0))
    np.testing.assert_allclose(recording.provenance.high, actions.max(axis=0))


def test_a_dataset_without_pictures_lists_what_it_has(root: Path) -> None:
    space = Dict({"state": Box(-9, 9, (3,), np.float64)})
    make("dull-v0", lambda rng, count: {"state": list(rng.uniform(-1, 1, (count, 3)))}, space, action_space=Box(-1, 1))
    with pytest.raises(WorldModelError, match=r"no pictures: its observations are \{'state': \(3,\)\}"):
        import_recording([str(root / "dull-v0")], root / "out")


def test_actions_that_are_no_vectors_are_refused(root: Path) -> None:
    make("discrete-v0", frames, PICTURES, action_space=Discrete(3))
    with pytest.raises(WorldModelError, match=r"has the actions Discrete\(3\)"):
        import_recording([str(root / "discrete-v0")], root / "out")
