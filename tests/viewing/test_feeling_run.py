"""What is shown of a run with proprioception uses what the robot felt, as long as anybody knows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from worldmodel.config import to_json
from worldmodel.datasets.clips import Clips
from worldmodel.envs.reacher import Reacher
from worldmodel.evaluation.evaluate import EvaluationConfig, evaluate
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.training.device import Compute
from worldmodel.viewing.dream import Dream
from worldmodel.viewing.find import Trained, open_trained
from worldmodel.viewing.forecast import view_forecast
from worldmodel.viewing.latents import chart, encode_episodes
from worldmodel.viewing.live.duet import Duet
from worldmodel.viewing.live.stage import Stage
from worldmodel.viewing.plan import read_acted
from worldmodel.viewing.rollout import imagine_clips
from worldmodel.viewing.trials import Trials


@pytest.fixture
def opened(feeling_run: Path, reacher: Path, cpu: Compute) -> Iterator[Trained]:
    with open_trained(feeling_run, reacher, cpu) as opened:
        yield opened


def plan_into(folder: Path, config: EvaluationConfig, opened: Trained) -> None:
    """Plan, and keep what `worldmodel plan` keeps."""
    evaluation = evaluate(
        config, model=opened.model, recording=opened.recording, run=opened.folder, compute=opened.compute
    )
    (folder / "config.json").write_text(to_json(config))
    evaluation.report.write(folder / "report.json")
    Trials.of(evaluation).write(folder)


def test_rollouts_begin_from_what_was_felt(opened: Trained) -> None:
    batch = Clips(opened.recording, np.arange(6), length=5).take(np.arange(3))
    numb = replace(batch, felt=batch.felt + 1)
    one, other = (imagine_clips(opened.model, x, opened.compute, visible=2) for x in (batch, numb))
    assert np.array_equal(one[:, :2], other[:, :2])
    assert not np.array_equal(one[:, 2:], other[:, 2:])


def test_a_dream_goes_on_without_what_nobody_felt(opened: Trained) -> None:
    generator = torch.Generator().manual_seed(0)
    latents, felt = torch.randn(2, 8, generator=generator), torch.randn(2, 6, generator=generator)
    block = torch.zeros(2, 2)

    def dream(felt: list[torch.Tensor], frames: int) -> torch.Tensor:
        dream = Dream(model=opened.model, compute=opened.compute, visible=2)
        dream.look(list(latents), [block], felt)
        return torch.stack([dream.advance(block) for _ in range(frames)])

    assert not torch.allclose(dream(list(felt), 3), dream([], 3))
    long = dream(list(felt), 5)  # longer than the predictor has positions
    again = Dream(model=opened.model, compute=opened.compute, visible=2)
    again.look(list(long[1:3]), [block])
    torch.testing.assert_close(again.advance(block), long[3])


def test_pictures_of_plans_and_forecasts_are_drawn(
    opened: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reacher, "tolerance", 1e-3)
    planning = PlanningConfig(planner="cem", horizon=2, history=2, cem=CEMConfig(candidates=8, rounds=2, elites=2))
    config = EvaluationConfig(planning=planning, episodes=1, ahead=12, budget=4)
    plan_into(tmp_path, config, opened)
    (acted,) = read_acted(opened, tmp_path)  # what it imagines from what was felt is what the planner imagined
    assert len(acted.frames) == 3
    assert all(path.stat().st_size for path in view_forecast(opened, tmp_path))


def test_the_live_robot_feels_itself(opened: Trained) -> None:
    survey = chart(encode_episodes(opened.model, opened.recording, np.arange(2), opened.compute))
    stage = Stage(opened.recording)
    duet = Duet(opened, stage=stage, survey=survey)
    duet.begin_at(3, 4)
    episode = opened.recording.episode(3)
    recorded = opened.recording.proprioception(episode.qpos, episode.qvel)
    np.testing.assert_allclose(duet.felt, recorded[3:5], atol=1e-6)
    block = episode.actions[8:10]
    assert not duet.advance(block, look_every=0)
    np.testing.assert_allclose(duet.felt, recorded[4:6], atol=1e-5)
    assert duet.felt.shape[0] == duet.seen.shape[0] == duet.blocks.shape[0] + 1
    stage.close()
