"""A recorded reward is learned, and planned for; where there is none, nobody pretends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.clips import Clips
from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Episode
from worldmodel.datasets.store import RecordingStore
from worldmodel.errors import WorldModelError
from worldmodel.planning.cost import CostConfig
from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
from worldmodel.training.checkpoint import load_model
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.optimiser import OptimiserConfig
from worldmodel.training.stage import StageConfig
from worldmodel.training.trainer import Trainer

EPISODES, FRAMES, STEPS = 12, 16, 3


@pytest.fixture
def glowing(tmp_path: Path, provenance: Provenance, make_episode: Callable[[int], Episode]) -> Path:
    """A recording of frames that glow and dim, with a thousand times the new glow as a block's reward."""
    folder = tmp_path / "glowing"
    blocks = FRAMES - 1
    with RecordingStore(folder, replace(provenance, height=32, width=32, episode_frames=FRAMES), resume=False) as store:
        for index in range(EPISODES):
            rng = np.random.default_rng(index)
            glow = 0.5 + 0.4 * np.sin(np.arange(FRAMES) * rng.uniform(0.5, 1.5) + rng.uniform(0, 6))
            frames = np.broadcast_to((255 * glow).astype(np.uint8)[:, None, None, None], (FRAMES, 32, 32, 3))
            store.add(
                replace(
                    make_episode(0),
                    index=index,
                    pictures={"frames/top": frames},
                    frame_step=np.arange(FRAMES) * STEPS,
                    **{name: np.zeros((FRAMES, size)) for name, size in (("qpos", 2), ("qvel", 2), ("act", 0))},
                    **{name: np.zeros((FRAMES, size)) for name, size in (("extra", 3), ("visual", 5))},
                    time=np.arange(FRAMES) * 0.06,
                    actions=rng.uniform(-1, 1, (blocks * STEPS, 2)).astype(np.float32),
                    reward=np.repeat(1000 * glow[1:] / STEPS, STEPS),
                )
            )
        store.finish(seconds=1.0)
    return folder


def test_a_block_earns_what_its_control_steps_earn(by_hand: Path) -> None:
    with Recording.open(by_hand) as recording:
        chosen = np.array([5, 0, 4, 2, 6])  # of 9, 12, 1, 4 and 8 control steps, of 3 a block
        episodes = [recording.episode(int(index)) for index in chosen]
        expected = []
        for episode in episodes:
            whole = len(episode.reward) // 3
            expected += [*(episode.reward[3 * block : 3 * block + 3].sum() for block in range(whole)), 0.0]
        np.testing.assert_allclose(recording.rewards_in(chosen), expected)
        clips = Clips(recording, chosen, length=3)
        rewards = clips.rewards(np.arange(len(clips)))
        assert rewards.shape == (len(clips), 2)
        np.testing.assert_allclose(rewards[0], expected[:2])  # frames 0 to 2 of the first
        np.testing.assert_allclose(rewards[2], expected[4:6])  # the second begins after four whole frames
        apart = Clips(recording, chosen[1:2], length=2, stride=2)
        np.testing.assert_allclose(apart.rewards(np.array([1]))[0], expected[5] + expected[6])


def test_a_reward_that_can_be_seen_is_learned(
    glowing: Path, tiny_train_config: TrainConfig, cpu: Compute, tmp_path: Path
) -> None:
    guide = StageConfig(steps=300, batch=32, length=6, optimiser=OptimiserConfig(learning_rate=1e-2))
    config = replace(tiny_train_config, guide=guide, log_every=300)
    with Recording.open(glowing) as recording:
        Trainer(config, recording=recording, run=tmp_path / "run", compute=cpu).train()
    model = load_model(tmp_path / "run")
    assert model.reward.known
    assert model.reward.mean.item() == pytest.approx(500, abs=100)
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    learned = [entry["valid/reward"] for entry in entries if "valid/reward" in entry]
    assert learned[-1] > 0.9  # of the variance, on episodes that were held out


def test_a_run_without_a_reward_refuses_to_plan_for_one(trained: Path, cpu: Compute) -> None:
    model = load_model(trained)
    assert not model.reward.known
    assert model.disagreement.known
    config = PlanningConfig(horizon=3, history=2, planner="cem", cost=CostConfig(away=0.0, last=0.0, reward=1.0))
    with pytest.raises(WorldModelError, match=r"cost\.reward.*'worldmodel/Reacher-v0' has none that varies"):
        PlanningPolicy(config, model=model, compute=cpu, seed=0)
