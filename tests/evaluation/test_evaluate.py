"""Trials nobody has trained on, floors that need no model, and the report about both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.datasets.recorder import RecordConfig, record
from worldmodel.envs.reacher import Reacher
from worldmodel.envs.variation import Variation
from worldmodel.envs.world import State
from worldmodel.errors import CheckpointError, WorldModelError
from worldmodel.evaluation import goals
from worldmodel.evaluation.control import FLOORS, Trace, floor
from worldmodel.evaluation.evaluate import ControlReport, EvaluationConfig, evaluate, read_train_config
from worldmodel.evaluation.goals import Trial, draw_trials
from worldmodel.models.interface import Interface
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.training.checkpoint import load_model
from worldmodel.training.config import TrainConfig, interface_of
from worldmodel.training.device import Compute

ENV, AHEAD = "worldmodel/Reacher-v0", 6
INTERFACE = Interface(ENV, ("top",), 32, 32, "fast", 2, 0.02, (-1.0, -1.0), (1.0, 1.0))
HELD_OUT = np.array([1, 4])
CONFIG = EvaluationConfig(
    planning=PlanningConfig(
        planner="cem", history=2, hold=2, horizon=2, cem=CEMConfig(candidates=10, rounds=2, elites=3)
    ),
    episodes=3,
    ahead=2 * AHEAD,
    budget=4,
    oracle=1,
)


@pytest.fixture
def recording(reacher: Path) -> Iterator[Recording]:
    with Recording.open(reacher) as recording:
        yield recording


@pytest.fixture
def task() -> Reacher:
    """A task with so small a tolerance that this short recording has goals enough."""
    task = Reacher()
    task.tolerance = 1e-3
    return task


def test_trials_come_from_held_out_episodes_and_are_not_solved(recording: Recording, task: Reacher) -> None:
    trials = draw_trials(recording, HELD_OUT, task, count=8, ahead=AHEAD, seed=0)
    assert len(trials) == 8
    for trial in trials:
        assert trial.episode in HELD_OUT
        episode = recording.episode(trial.episode)
        assert task.distance(trial.start, trial.goal) > task.tolerance
        assert np.array_equal(trial.goal_image, episode.frames[trial.frame + AHEAD])
        assert np.array_equal(trial.start.qpos, episode.qpos[trial.frame])
        assert np.array_equal(trial.start.qvel, episode.qvel[trial.frame])
        assert np.array_equal(trial.goal.qpos, episode.qpos[trial.frame + AHEAD])
        assert np.array_equal(trial.start.extra, episode.extra[trial.frame])


def test_no_start_is_drawn_twice(recording: Recording, task: Reacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two episodes of ten frames has four starts; the first draws count, and those never drawn come last."""
    rng, drawn = np.random.default_rng([3, 8, AHEAD]), []
    for _ in range(8):
        episode = int(rng.choice(HELD_OUT))
        drawn.append((episode, int(rng.integers(4))))
    first = list(dict.fromkeys(drawn))
    assert len(first) < 8
    monkeypatch.setattr(goals, "TRIES", 1)
    starts = [(t.episode, t.frame) for t in draw_trials(recording, HELD_OUT, task, count=8, ahead=AHEAD, seed=3)]
    assert starts[: len(first)] == first
    assert sorted(starts) == [(episode, frame) for episode in HELD_OUT for frame in range(4)]


def test_more_trials_than_starts_are_refused(
    recording: Recording, task: Reacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    of, distance = recording.episode, task.distance
    monkeypatch.setattr(recording, "episode", lambda index: read.append(index) or of(index))
    with pytest.raises(WorldModelError, match=r"Only 8 of 9 trials .* among the 8 starts.*--episodes.*further ahead"):
        draw_trials(recording, HELD_OUT, task, count=9, ahead=AHEAD, seed=0)
    assert sorted(read) == [1] * 4 + [4] * 4  # none is looked at twice
    solved = float(recording.episode(1).time[0])
    monkeypatch.setattr(task, "distance", lambda start, goal: 0.0 if start.time == solved else distance(start, goal))
    assert len(draw_trials(recording, HELD_OUT, task, count=6, ahead=AHEAD, seed=0)) == 6
    with pytest.raises(WorldModelError, match=r"Only 6 of 7 trials .* among the 8 starts"):
        draw_trials(recording, HELD_OUT, task, count=7, ahead=AHEAD, seed=0)


def test_the_seed_decides_the_trials(recording: Recording, task: Reacher) -> None:
    one, same, other = (
        [(t.episode, t.frame) for t in draw_trials(recording, HELD_OUT, task, count=8, ahead=AHEAD, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_episodes_too_short_are_refused(recording: Recording, task: Reacher) -> None:
    assert draw_trials(recording, HELD_OUT, task, count=1, ahead=9, seed=0)[0].frame == 0
    with pytest.raises(WorldModelError, match="more than 10 frames"):
        draw_trials(recording, HELD_OUT, task, count=1, ahead=10, seed=0)


def test_goals_that_are_met_at_the_start_are_refused(recording: Recording, task: Reacher) -> None:
    task.tolerance = 10.0
    with pytest.raises(WorldModelError, match=r"Only 0 of 2 trials.*further ahead"):
        draw_trials(recording, HELD_OUT, task, count=2, ahead=AHEAD, seed=0)


@pytest.fixture
def at_rest() -> Trial:
    start, goal = (State(np.array(qpos), np.zeros(2), np.zeros(0), 0.0) for qpos in ([0.5, 1.0], [0.9, 1.4]))
    return Trial(0, 0, start, goal, np.zeros((32, 32, 3), np.uint8))


def test_who_does_nothing_stays(at_rest: Trial) -> None:
    distance = floor("zero", INTERFACE, [at_rest], steps=20, seed=0).distance
    assert distance.shape == (1, 21)
    np.testing.assert_allclose(distance, distance[0, 0], atol=1e-9)
    assert distance[0, 0] > 0.025


@pytest.mark.parametrize("name", ["uniform", "smooth-noise"])
def test_who_acts_at_random_moves_and_repeats(at_rest: Trial, name: str) -> None:
    one, same, other = (floor(name, INTERFACE, [at_rest] * 2, steps=20, seed=seed).distance for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])  # every trial has its own draws
    assert np.ptp(one) > 1e-4


def test_success_is_at_the_end_and_success_ever_at_any_time() -> None:
    trace = Trace(np.array([[3.0, 0.5, 2.0], [3.0, 2.0, 1.0], [3.0, 2.0, 2.0], [3.0, 2.0, 1.5]]))
    assert trace.success(1.0).value == 0.25
    assert trace.success_ever(1.0).value == 0.5


@pytest.fixture
def low_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reacher, "tolerance", 1e-3)


@pytest.mark.usefixtures("low_tolerance")
def test_an_evaluation(
    trained: Path, recording: Recording, cpu: Compute, tiny_train_config: TrainConfig, tmp_path: Path
) -> None:
    told = []
    model = load_model(trained)
    first, second = (
        evaluate(
            CONFIG,
            model=model,
            recording=recording,
            run=trained,
            compute=cpu,
            progress=lambda done, blocks: told.append((done, blocks)),
        )
        for _ in range(2)
    )
    assert told[:3] == [(1, 3), (2, 3), (3, 3)]  # two blocks, and the oracle's trial
    _, held_out = split_episodes(recording.episodes, tiny_train_config.held_out, tiny_train_config.seed)
    assert {trial.episode for trial in first.trials} <= set(held_out.tolist())
    trace = first.trace
    assert trace.distance.shape == (3, 2 * 2 + 1)
    assert trace.frames.shape == trace.imagined.shape == (3, 3, 32, 32, 3)
    assert trace.imagined_cost.shape == trace.achieved_cost.shape == (3, 2)
    assert np.array_equal(trace.distance, second.trace.distance)
    assert np.array_equal(trace.frames, second.trace.frames)
    recorded = np.stack([recording.episode(t.episode).frames[t.frame] for t in first.trials])
    assert np.abs(trace.frames[:, 0].astype(int) - recorded).max() <= 1  # it begins where the recording was
    report = first.report
    assert (report.ahead, report.budget, report.training_seed) == (12, 4, 1)
    assert report.oracle is not None
    assert report.oracle.count == 1
    assert 0 < report.model_share < 1
    assert min(report.milliseconds_for_one, report.milliseconds_per_plan) > 0
    assert set(report.floors) == set(report.floors_ever) == set(FLOORS)
    assert report.plans == report.success.count == 3
    report.write(tmp_path / "report.json")
    assert ControlReport.read(tmp_path / "report.json") == report


@pytest.mark.parametrize(
    "change",
    [
        {"env": "worldmodel/Other-v0"},
        {"height": 64},
        {"steps_per_frame": 3},
        {"low": (-1.0,), "high": (1.0,)},
        {"high": (1.0, 2.0)},
        {"recording": "another"},
    ],
)
def test_a_recording_of_another_world_is_refused(
    recording: Recording, trained: Path, cpu: Compute, change: dict[str, Any]
) -> None:
    model = load_model(trained)
    model.interface = replace(model.interface, **change)
    with pytest.raises(WorldModelError, match=rf"does not fit the model: its {next(iter(change))} is"):
        evaluate(CONFIG, model=model, recording=recording, run=trained, compute=cpu)


@pytest.fixture(scope="module")
def shifted(reacher_config: RecordConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    """The same arm, three times as heavy and in other light."""
    folder = tmp_path_factory.mktemp("shifted") / "reacher"
    record(replace(reacher_config, env_arguments='{"variation": {"mass": 1, "light": 1}}'), folder)
    with Recording.open(folder) as recording:
        yield recording


@pytest.mark.usefixtures("low_tolerance")
def test_a_shifted_world_is_acted_in_as_it_was_recorded(
    trained: Path, shifted: Recording, cpu: Compute, tmp_path: Path
) -> None:
    config = replace(CONFIG, shifted=True, episodes=12, oracle=0)
    model = load_model(trained)
    evaluation = evaluate(config, model=model, recording=shifted, run=trained, compute=cpu)
    assert len({trial.episode for trial in evaluation.trials}) > len(HELD_OUT)  # all episodes: none was trained on
    recorded = np.stack([shifted.episode(t.episode).frames[t.frame] for t in evaluation.trials])
    assert np.abs(evaluation.trace.frames[:, 0].astype(int) - recorded).max() <= 1
    assert (evaluation.report.shifted, evaluation.report.env_arguments) == (True, shifted.provenance.env_arguments)
    evaluation.report.write(tmp_path / "report.json")
    assert ControlReport.read(tmp_path / "report.json") == evaluation.report


def test_a_shifted_recording_is_asked_for_by_name(
    trained: Path, recording: Recording, shifted: Recording, cpu: Compute
) -> None:
    model = load_model(trained)
    with pytest.raises(WorldModelError, match=r"is not shifted: env_arguments are '{}'.*leave out --shifted"):
        evaluate(replace(CONFIG, shifted=True), model=model, recording=recording, run=trained, compute=cpu)
    with pytest.raises(WorldModelError, match=r"its env_arguments is '{\"var.*the model was trained on.*--shifted"):
        evaluate(CONFIG, model=model, recording=shifted, run=trained, compute=cpu)
    model.interface = replace(model.interface, height=64)
    with pytest.raises(WorldModelError, match="does not fit the model: its height is 32"):
        evaluate(replace(CONFIG, shifted=True), model=model, recording=shifted, run=trained, compute=cpu)


def test_a_world_without_goals_says_what_can_be_done_there(trained: Path, tmp_path: Path, cpu: Compute) -> None:
    record(RecordConfig(env="Reacher-v5", frames=20, steps_per_frame=2, height=32, width=32, workers=1), tmp_path / "r")
    model = load_model(trained)
    with Recording.open(tmp_path / "r") as other:
        model.interface = interface_of(other)
        with pytest.raises(WorldModelError, match=r"'Reacher-v5' is none of our tasks.*worldmodel earn"):
            evaluate(CONFIG, model=model, recording=other, run=trained, compute=cpu)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json.*Expected the folder of a trained run"):
        read_train_config(tmp_path)


def test_the_task_is_played_as_it_was_recorded(at_rest: Trial) -> None:
    """Whoever acts in a heavier arm gets elsewhere."""
    heavy = replace(INTERFACE, env_arguments='{"variation": {"mass": 1.0, "seed": 3}}')
    one, other = (floor("uniform", each, [at_rest], steps=20, seed=0).distance for each in (INTERFACE, heavy))
    assert not np.array_equal(one, other)


def test_a_recording_that_varies_every_episode_is_not_planned_in(recording: Recording, task: Reacher) -> None:
    task.vary(Variation(colour=0.5, every_episode=True))
    with pytest.raises(WorldModelError, match="varies every episode"):
        draw_trials(recording, HELD_OUT, task, count=1, ahead=AHEAD, seed=0)
