"""A run that sees with two cameras: trained, measured, probed and planned with, to the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from worldmodel.datasets.reader import Recording
from worldmodel.envs.reacher import Reacher
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import EvaluationConfig, as_seen_by, evaluate
from worldmodel.evaluation.measure import MeasureConfig, measure
from worldmodel.evaluation.probe import ProbeConfig, probe
from worldmodel.evaluation.probes.mlp import MLPProbeConfig
from worldmodel.evaluation.probes.tuning import TuneConfig
from worldmodel.planning.agent import Agent
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.training.checkpoint import load_model
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.encode import encode_frames
from worldmodel.training.trainer import Trainer

PLANNING = PlanningConfig(planner="cem", horizon=2, history=2, cem=CEMConfig(candidates=8, rounds=2, elites=2))
MLP = MLPProbeConfig(width=8, steps=4, batch=8, checks=2)


@pytest.fixture
def recording(two_cameras: Path) -> Iterator[Recording]:
    with Recording.open(two_cameras) as recording:
        yield recording


def test_the_model_is_tied_to_its_cameras(trained_with_two: Path, recording: Recording, reacher: Path) -> None:
    model = load_model(trained_with_two)
    assert (model.interface.cameras, model.interface.height, model.interface.width) == (("", "top"), 32, 64)
    seen = as_seen_by(model, recording)
    assert seen.cameras == ("", "top")
    assert np.array_equal(seen.episode(2).frames[:, :, 32:], recording.episode(2).frames)
    with Recording.open(reacher) as one_camera, pytest.raises(WorldModelError, match=r"Unknown camera ''.*Valid: top"):
        as_seen_by(model, one_camera)


def test_it_looks_with_both_eyes(trained_with_two: Path, recording: Recording, cpu: Compute) -> None:
    model = load_model(trained_with_two)
    frames = as_seen_by(model, recording).episode(0).frames
    latents = encode_frames(model, frames, cpu)
    for half in (slice(0, 32), slice(32, 64)):
        covered = frames.copy()
        covered[:, :, half] = 0
        assert not np.allclose(encode_frames(model, covered, cpu), latents)


def test_cameras_that_were_not_recorded_are_refused(
    recording: Recording, tiny_train_config: TrainConfig, cpu: Compute, tmp_path: Path
) -> None:
    config = replace(tiny_train_config, cameras=("top", "side"))
    with pytest.raises(WorldModelError, match=r"Unknown camera 'side'.*the free camera.*top"):
        Trainer(config, recording=recording, run=tmp_path / "run", compute=cpu)


def test_it_is_measured_and_probed(trained_with_two: Path, recording: Recording, cpu: Compute) -> None:
    runtime = {"model": load_model(trained_with_two), "recording": recording, "run": trained_with_two, "compute": cpu}
    measured = measure(MeasureConfig(length=5, visible=2, probe=MLP), **runtime)
    assert np.isfinite(measured.rollout_error).all()
    tune = TuneConfig(seeds=1, steps=2, batch=4, scratch_steps=2)
    config = ProbeConfig(labels=("100%",), seeds=1, visible=2, mlp=MLP, tune=tune)
    assert {result.method for result in probe(config, **runtime).results} == {
        "ridge",
        "MLP",
        "fine-tuned",
        "from scratch",
    }


def test_it_plans_with_what_both_see(
    trained_with_two: Path, recording: Recording, cpu: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reacher, "tolerance", 1e-3)
    model = load_model(trained_with_two)
    config = EvaluationConfig(planning=PLANNING, episodes=2, ahead=12, budget=4)
    found = evaluate(config, model=model, recording=recording, run=trained_with_two, compute=cpu)
    seen = as_seen_by(model, recording)
    assert found.trace.frames.shape == found.trace.imagined.shape == (2, 3, 32, 64, 3)
    for trial, frames in zip(found.trials, found.trace.frames, strict=True):
        recorded = seen.episode(trial.episode).frames
        assert np.array_equal(trial.goal_image, recorded[trial.frame + 6])
        assert np.abs(frames[0].astype(int) - recorded[trial.frame]).max() <= 1


def test_an_agent_acts_in_an_environment_with_the_same_cameras(trained_with_two: Path, cpu: Compute) -> None:
    model = load_model(trained_with_two)
    env = gymnasium.make("worldmodel/Reacher-v0", size=32, cameras=("", "top"))
    agent = Agent(PLANNING, model=model, compute=cpu, seed=0, env=env)
    observation, _ = env.reset(seed=0)
    assert env.action_space.contains(agent(observation))
    env.close()
    other = gymnasium.make("worldmodel/Reacher-v0", size=32, cameras=("top", ""))
    with pytest.raises(WorldModelError, match=r"cameras is \('top', ''\).*trained on \('', 'top'\)"):
        Agent(PLANNING, model=model, compute=cpu, seed=0, env=other)
    other.close()
