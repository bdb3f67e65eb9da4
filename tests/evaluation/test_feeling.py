"""A run with proprioception: trained, measured, probed and planned with, to the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from worldmodel.datasets.clips import Clips
from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.envs.reacher import Reacher
from worldmodel.errors import RecordingError, WorldModelError
from worldmodel.evaluation.evaluate import EvaluationConfig, as_seen_by, evaluate
from worldmodel.evaluation.measure import MeasureConfig, measure
from worldmodel.evaluation.probe import ProbeConfig, probe
from worldmodel.evaluation.probes.mlp import MLPProbeConfig
from worldmodel.evaluation.probes.tuning import TuneConfig
from worldmodel.planning.agent import Agent
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
from worldmodel.training.checkpoint import load_model
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.trainer import Trainer

PLANNING = PlanningConfig(planner="cem", horizon=2, history=2, cem=CEMConfig(candidates=8, rounds=2, elites=2))
MLP = MLPProbeConfig(width=8, steps=4, batch=8, checks=2)


@pytest.fixture
def recording(reacher: Path) -> Iterator[Recording]:
    with Recording.open(reacher) as recording:
        yield recording


def as_felt(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """What the two joints of the Reacher feel like."""
    return np.stack([np.sin(qpos), np.cos(qpos), qvel], axis=-1).reshape(*qpos.shape[:-1], -1)


@pytest.mark.parametrize("stride", [1, 2])
def test_clips_tell_what_was_felt_at_their_frames(recording: Recording, stride: int) -> None:
    clips = Clips(recording.with_proprioception(), np.array([4, 1]), length=3, stride=stride)
    batch = clips.take(np.arange(len(clips)))
    places = [(e, t) for e in (4, 1) for t in range(recording.whole_frames[e] - 2 * stride)]
    for felt, (index, first) in zip(batch.felt, places, strict=True):
        episode, rows = recording.episode(index), slice(first, first + 2 * stride + 1, stride)
        np.testing.assert_allclose(felt, as_felt(episode.qpos[rows], episode.qvel[rows]), atol=1e-6)
    assert Clips(recording, np.array([4]), length=3).take(np.arange(2)).felt.shape == (2, 3, 0)


def test_the_model_keeps_how_to_normalise(
    feeling_run: Path, recording: Recording, tiny_train_config: TrainConfig
) -> None:
    model = load_model(feeling_run)
    assert model.interface.proprioception == 6
    training, _ = split_episodes(recording.episodes, tiny_train_config.held_out, tiny_train_config.seed)
    episodes = [recording.episode(int(index)) for index in training]
    felt = np.concatenate([as_felt(episode.qpos, episode.qvel) for episode in episodes])
    assert model.predictor.feel is not None
    np.testing.assert_allclose(model.predictor.feel.mean, felt.mean(0), atol=1e-5)
    np.testing.assert_allclose(model.predictor.feel.std, felt.std(0, ddof=1), rtol=1e-4)


def test_a_run_that_was_stopped_goes_on_the_same(
    feeling_run: Path, recording: Recording, tiny_train_config: TrainConfig, cpu: Compute, tmp_path: Path
) -> None:
    config = replace(tiny_train_config, model=replace(tiny_train_config.model, proprioception=True))

    def stop(stage: str, done: int, steps: int, values: dict[str, float]) -> None:
        if (stage, done) == ("forecast", 2):
            raise KeyboardInterrupt

    def trainer() -> Trainer:
        return Trainer(config, recording=recording, run=tmp_path / "run", compute=cpu)

    with pytest.raises(KeyboardInterrupt):
        trainer().train(stop)
    resumed, whole = trainer().train().state_dict(), load_model(feeling_run).state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


def test_it_is_measured_and_probed(feeling_run: Path, recording: Recording, cpu: Compute) -> None:
    runtime = {"model": load_model(feeling_run), "recording": recording, "run": feeling_run, "compute": cpu}
    measured = measure(MeasureConfig(length=5, visible=2, probe=MLP), **runtime)
    assert np.isfinite(measured.rollout_error).all()
    config = ProbeConfig(labels=("100%",), seeds=1, visible=2, mlp=MLP, tune=TuneConfig(seeds=0))
    assert probe(config, **runtime).rollouts


def test_it_plans_with_what_it_feels(
    feeling_run: Path, recording: Recording, cpu: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reacher, "tolerance", 1e-3)
    model = load_model(feeling_run)
    config = EvaluationConfig(planning=PLANNING, episodes=2, ahead=12, budget=4)
    found = evaluate(config, model=model, recording=recording, run=feeling_run, compute=cpu)
    assert found.trace.felt.shape == (2, 3, 6)
    for trial, felt in zip(found.trials, found.trace.felt, strict=True):
        np.testing.assert_allclose(felt[0], as_felt(trial.start.qpos, trial.start.qvel), atol=1e-6)
        goal_image = as_seen_by(model, recording).episode(trial.episode).frames[trial.frame + 6]
        assert np.array_equal(trial.goal_image, goal_image)


def test_a_policy_remembers_what_was_felt_and_asks_for_it(feeling_run: Path, cpu: Compute) -> None:
    model = load_model(feeling_run)
    frames = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)

    def second_decision(first: float, second: float) -> torch.Tensor:
        policy = PlanningPolicy(PLANNING, model=model, compute=cpu, seed=0)
        policy.reset(frames)
        policy(frames, torch.full((1, 6), first))
        return policy(frames, torch.full((1, 6), second)).imagined

    assert torch.equal(second_decision(0.0, 1.0), second_decision(0.0, 1.0))
    assert not torch.equal(second_decision(0.0, 1.0), second_decision(0.0, 2.0))
    assert not torch.equal(second_decision(0.0, 1.0), second_decision(3.0, 1.0))
    policy = PlanningPolicy(PLANNING, model=model, compute=cpu, seed=0)
    policy.reset(frames)
    with pytest.raises(WorldModelError, match="the 6 numbers that the robot feels"):
        policy(frames)


def test_an_agent_acts_in_an_environment_that_shows_it(feeling_run: Path, trained: Path, cpu: Compute) -> None:
    feeling, plain = (gymnasium.make("worldmodel/Reacher-v0", size=32, proprioception=asked) for asked in (True, False))
    model = load_model(feeling_run)
    agent = Agent(PLANNING, model=model, compute=cpu, seed=0, env=feeling)
    observation, _ = feeling.reset(seed=0)
    assert feeling.action_space.contains(agent(observation))
    with pytest.raises(WorldModelError, match=r"'proprioception' is 0.*trained on 6"):
        Agent(PLANNING, model=model, compute=cpu, seed=0, env=plain)
    for broken, named in (({}, "has no 'proprioception'"), ({"proprioception": np.full(6, np.nan)}, "finite")):
        rest = {name: observation[name] for name in ("image", "goal")}
        with pytest.raises(WorldModelError, match=named):
            agent({**rest, **broken})
    blind = Agent(PLANNING, model=load_model(trained), compute=cpu, seed=0, env=feeling)
    assert feeling.action_space.contains(blind(observation))  # who does not ask for it is not bothered by it
    feeling.close()
    plain.close()


def test_a_recording_of_which_nobody_knows_what_was_felt_is_refused(by_hand: Path, recording: Recording) -> None:
    with Recording.open(by_hand) as foreign:
        foreign.manifest = replace(foreign.manifest, provenance=replace(foreign.provenance, simulation=None))
        with pytest.raises(RecordingError, match=r"was not simulated.*Leave out proprioception"):
            foreign.with_proprioception()
