"""What is shown of a run that sees with two cameras: both views, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from worldmodel.config import to_json
from worldmodel.envs.reacher import Reacher
from worldmodel.evaluation.evaluate import EvaluationConfig, evaluate
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.training.device import Compute
from worldmodel.viewing.find import Trained, open_trained
from worldmodel.viewing.live.stage import Stage
from worldmodel.viewing.plan import read_acted
from worldmodel.viewing.rollout import view_rollout
from worldmodel.viewing.trials import Trials


@pytest.fixture
def opened(trained_with_two: Path, two_cameras: Path, cpu: Compute) -> Iterator[Trained]:
    with open_trained(trained_with_two, two_cameras, cpu) as opened:
        yield opened


def plan_into(folder: Path, config: EvaluationConfig, opened: Trained) -> None:
    """Plan, and keep what `worldmodel plan` keeps."""
    evaluation = evaluate(
        config, model=opened.model, recording=opened.recording, run=opened.folder, compute=opened.compute
    )
    (folder / "config.json").write_text(to_json(config))
    evaluation.report.write(folder / "report.json")
    Trials.of(evaluation).write(folder)


def test_rollouts_show_both_views(opened: Trained, tmp_path: Path) -> None:
    picture, video = view_rollout(
        opened.model, opened.recording, opened.held_out, opened.compute, tmp_path, visible=2, horizon=3
    )
    assert cv2.imread(str(picture)).shape[1] > 5 * 64  # five frames in a row, each of two views
    assert video.stat().st_size > 0


def test_plans_are_shown_in_both_views(opened: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reacher, "tolerance", 1e-3)
    planning = PlanningConfig(planner="cem", horizon=2, history=2, cem=CEMConfig(candidates=8, rounds=2, elites=2))
    config = EvaluationConfig(planning=planning, episodes=1, ahead=12, budget=4)
    plan_into(tmp_path, config, opened)
    acted = read_acted(opened, tmp_path)[0]
    assert acted.frames.shape[1:] == acted.planned.shape[1:] == acted.goal_image.shape == (32, 64, 3)


def test_the_live_simulator_is_filmed_as_it_was_recorded(opened: Trained) -> None:
    episode = opened.recording.episode(3)
    stage = Stage(opened.recording)
    stage.restore(episode, 4)
    assert np.array_equal(stage.frame(), episode.frames[4])
    stage.close()
