"""Recordings to test with: one written by hand in a moment, whose frames say what they are, and one of the recorder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.recorder import RecordConfig, record
from worldmodel.datasets.schema import Ending, Episode, Provenance
from worldmodel.datasets.store import RecordingStore, spool_episode

SIZE, STEPS_PER_FRAME, ACTIONS = 8, 3, 2
STEPS = (12, 15, 4, 12, 1, 9, 8)  # control steps of each episode; 4, 1 and 8 end within a block


@pytest.fixture
def provenance() -> Provenance:
    """Where the recording written by hand says that it comes from."""
    return Provenance(
        env="by-hand",
        camera="top",
        height=SIZE,
        width=SIZE,
        quality="fast",
        gl_renderer="nobody",
        steps_per_frame=STEPS_PER_FRAME,
        control_seconds=0.02,
        episode_frames=6,
        low=(-1.0,) * ACTIONS,
        high=(1.0,) * ACTIONS,
        policy="uniform",
        seed=7,
        mjcf="<mujoco/>",
        mjcf_sha256="0",
        worldmodel="0",
        mujoco="3",
        gymnasium="1",
        python="3",
    )


@pytest.fixture
def make_episode() -> Callable[[int], Episode]:
    """Make episode number `index`: its frames begin with the bytes (index, frame), its actions with (index, step)."""

    def make(index: int) -> Episode:
        rng = np.random.default_rng(index)
        steps = STEPS[index % len(STEPS)]
        frame_step = np.unique([*range(0, steps, STEPS_PER_FRAME), steps])
        rows = len(frame_step)
        frames = rng.integers(0, 256, (rows, SIZE, SIZE, 3), dtype=np.uint8)
        frames[:, 0, 0, 0], frames[:, 0, 0, 1] = index, np.arange(rows)
        return Episode(
            index=index,
            seed=7,
            ending=Ending.LIMIT if steps % STEPS_PER_FRAME == 0 else Ending.TERMINATED,
            frames=frames,
            frame_step=frame_step,
            qpos=rng.normal(size=(rows, 2)),
            qvel=rng.normal(size=(rows, 2)),
            act=np.zeros((rows, 0)),
            time=frame_step * 0.02,
            actions=np.column_stack([np.full(steps, index), np.arange(steps)]).astype(np.float32),
            reward=rng.normal(size=steps),
        )

    return make


@pytest.fixture
def by_hand(
    tmp_path: Path,
    provenance: Provenance,
    make_episode: Callable[[int], Episode],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A finished recording of seven episodes in three shards."""
    monkeypatch.setattr("worldmodel.datasets.store.SHARD_BYTES", 3 * provenance.episode_frames * SIZE * SIZE * 3)
    folder = tmp_path / "by-hand"
    store = RecordingStore(folder, provenance, resume=False)
    for index in range(len(STEPS)):
        spool_episode(folder, make_episode(index), "top")
    store.finish(seconds=1.0)
    store.close()
    return folder


@pytest.fixture(scope="session")
def reacher_config() -> RecordConfig:
    """Six episodes of ten frames of the Reacher."""
    return RecordConfig(frames=60, episode_frames=10, steps_per_frame=2, size=32, seed=3, workers=1)


@pytest.fixture(scope="session")
def reacher(reacher_config: RecordConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a recording of the Reacher. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("recordings") / "reacher"
    record(reacher_config, folder)
    return folder


@pytest.fixture(scope="session")
def shard_hashes() -> Callable[[Path], dict[str, str]]:
    """Return name and SHA-256 of every shard in a folder."""

    def hashes(folder: Path) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.h5"))}

    return hashes
