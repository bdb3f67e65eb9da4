"""Plans as they went, and a run on one page."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from worldmodel.config import to_json
from worldmodel.datasets.reader import Recording
from worldmodel.envs.reacher import Reacher
from worldmodel.errors import RecordingError, WorldModelError
from worldmodel.evaluation.evaluate import EvaluationConfig, evaluate
from worldmodel.evaluation.goals import draw_trials
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.byol import BYOLConfig
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.planner import Round
from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
from worldmodel.planning.proposal import ProposalConfig
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.viewing.acted import Acted, read_acted
from worldmodel.viewing.find import Trained, find_recording, open_trained
from worldmodel.viewing.page import Section, Shown, write_page
from worldmodel.viewing.pictures import write_png
from worldmodel.viewing.plan import view_plan
from worldmodel.viewing.report import SECTIONS, view_report
from worldmodel.viewing.trials import EACH, Trials, find_run, read_report
from worldmodel.viewing.video import write_video

CONFIG = EvaluationConfig(
    planning=PlanningConfig(
        horizon=2, history=2, proposal=ProposalConfig(search=True, cem=CEMConfig(candidates=8, rounds=2, elites=2))
    ),
    episodes=3,
    ahead=12,
    budget=4,
)


@pytest.fixture
def report(opened: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's copy with a report in it; the folder of the report."""
    monkeypatch.setattr(Reacher, "tolerance", 1e-6)
    run = tmp_path / "run"
    shutil.copytree(opened.folder, run)
    plan = run / "plan"
    plan.mkdir()
    evaluation = evaluate(
        CONFIG, model=opened.model, recording=opened.recording, run=opened.folder, compute=opened.compute
    )
    evaluation.report.write(plan / "report.json")
    (plan / "config.json").write_text(to_json(CONFIG))
    Trials.of(evaluation).write(plan)
    return plan


def test_what_is_shown_is_what_the_planner_did(opened: Trained, report: Path, tmp_path: Path) -> None:
    folder, config, control = read_report(report / "report.json")
    assert (folder, config, control.plans) == (report, CONFIG, 3)
    assert find_run(report) == report.resolve().parent
    drawn = draw_trials(opened.recording, opened.held_out, Reacher(), count=3, ahead=6, seed=0)
    policy = PlanningPolicy(CONFIG.planning, model=opened.model, compute=opened.compute, seed=CONFIG.seed)
    policy.reset(torch.from_numpy(np.stack([trial.goal_image for trial in drawn])))
    starts = np.stack([opened.recording.episode(trial.episode).frames[trial.frame] for trial in drawn])
    rounds: list[Round] = []
    decision = policy(torch.from_numpy(starts), watch=rounds.append)
    acted = read_acted(opened, report)
    assert [trial.number for trial in acted] == list(range(EACH))  # none of them is solved, see the tolerance
    for trial in acted:
        number = trial.number
        assert np.array_equal(trial.goal_image, drawn[number].goal_image)
        assert np.array_equal(trial.frames[0], starts[number])
        assert trial.distance.shape == (2 * 2 + 1,)
        assert trial.distance[0] == pytest.approx(Reacher().distance(drawn[number].start, drawn[number].goal))
        assert trial.planned.shape == (2, 32, 32, 3)
        assert [(len(shown.actions), shown.elites) for shown in trial.rounds] == [(5, 1), (8, 2), (8, 2)]
        assert trial.best_by_round.shape == (2, 3)
        for shown, tried in zip(trial.rounds, rounds, strict=True):
            assert np.array_equal(shown.actions, tried.actions[number])
            np.testing.assert_allclose(shown.latents, tried.latents[number], atol=1e-4)
        np.testing.assert_allclose(trial.best_by_round[0], decision.plan.best_by_round[:, number])
        assert (np.diff(trial.best_by_round) <= 0).all()
    paths = view_plan(opened, report, tmp_path / "out")
    assert [path.name for path in paths] == ["trial-000-missed.png", "trial-001-missed.png"]
    assert cv2.imread(str(paths[0])).shape == (900, 1300, 3)


def test_successes_and_failures_are_kept(opened: Trained, report: Path) -> None:
    evaluation = evaluate(
        CONFIG, model=opened.model, recording=opened.recording, run=opened.folder, compute=opened.compute
    )
    evaluation.trace.distance[:, -1] = [0.0, 1.0, 0.0]
    kept = Trials.of(evaluation)
    assert kept.number.tolist() == [0, 1, 2]
    assert [trial.solved for trial in _read(opened, report, kept)] == [True, False, True]


def test_a_proposal_that_was_kept_for_want_of_a_much_better_plan_is_shown(opened: Trained, report: Path) -> None:
    search = CEMConfig(candidates=64, rounds=3, elites=4, spread=1.0)
    kept = ProposalConfig(search=True, margin=1.0, cem=search)
    config = dataclasses.replace(CONFIG, planning=dataclasses.replace(CONFIG.planning, proposal=kept))
    evaluation = evaluate(
        config, model=opened.model, recording=opened.recording, run=opened.folder, compute=opened.compute
    )
    trials = Trials.of(evaluation)
    assert (trials.round[trials.cost.argmin(1)] > 0).any()  # the search found a cheaper plan
    assert len(_read(opened, report, trials)) == len(trials.number)


def _read(opened: Trained, report: Path, kept: Trials) -> list[Acted]:
    kept.write(report)
    return read_acted(opened, report)


def test_a_report_of_another_model_is_refused(opened: Trained, report: Path, tiny_model: WorldModel) -> None:
    other = dataclasses.replace(opened, model=WorldModel(tiny_model.config, interface=opened.model.interface).eval())
    with pytest.raises(WorldModelError, match="another model"):
        read_acted(other, report)
    (report / "report.json").write_text((report / "report.json").read_text().replace("Reacher", "Cartpole"))
    with pytest.raises(WorldModelError, match="another model"):
        read_acted(opened, report)
    (report / "trials.npz").write_bytes(b"PK")
    with pytest.raises(WorldModelError, match=r"trials\.npz.*worldmodel plan"):
        read_acted(opened, report)


def test_plans_of_a_search_that_ran_out_of_time_are_read(opened: Trained, report: Path) -> None:
    hurried = dataclasses.replace(CONFIG.planning, budget_ms=1e-3)
    evaluation = evaluate(
        dataclasses.replace(CONFIG, planning=hurried),
        model=opened.model,
        recording=opened.recording,
        run=opened.folder,
        compute=opened.compute,
    )
    for trial in _read(opened, report, Trials.of(evaluation)):
        assert len(trial.rounds) == trial.best_by_round.shape[1] == 1


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorldModelError, match="no report"):
        read_report(tmp_path)
    with pytest.raises(WorldModelError, match="0 runs"):
        find_run(tmp_path / "plan")
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(WorldModelError, match=r"config\.json"):
        read_report(tmp_path)


class Addresses(HTMLParser):
    """All that a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, value or "") for name, value in attributes if name in ("src", "href", "srcset", "data")]


def test_a_run_is_on_one_page_that_needs_nothing_else(report: Path, reacher: Path, cpu: Compute) -> None:
    with open_trained(report.parent, reacher, cpu) as trained:
        page = view_report(trained, report.parent / "report.html")
    text = page.read_text()
    for address in Addresses(text).found:
        assert address[1].startswith(("data:image/png;base64,", "data:video/mp4;base64,", "#part-")), address[1][:60]
    assert "url(" not in text
    assert "@import" not in text
    assert len(re.findall("<section", text)) == 6
    held = [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)', text)]
    for name in ("recording.png", "rollout.png", "forecast.png", "latent.png", "training.png"):
        assert (page.parent / "view" / name).read_bytes() in held
    success = json.loads((report / "report.json").read_text())["success"]
    assert f"{success['value']:.0%} [{success['low']:.0%}" in text
    assert f"worldmodel view live {report.parent}" in text


def test_words_are_words_on_a_page(tmp_path: Path) -> None:
    write_page(tmp_path / "a.html", "<b>&", "<script>", [Section("<i>", "<u>", [("<s>", "&")], command="a < b")])
    text = (tmp_path / "a.html").read_text()
    for word in ("<b>", "<script>", "<i>", "<u>", "<s>"):
        assert word not in text
    assert "a &lt; b" in text
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    with pytest.raises(WorldModelError, match="cannot be read"):
        write_page(tmp_path / "b.html", "", "", [Section("", "", files=[tmp_path / "none.png"])])
    with pytest.raises(WorldModelError, match=r"\.png or \.mp4"):
        write_page(tmp_path / "b.html", "", "", [Section("", "", files=[tmp_path / "a.html"])])


def test_pictures_and_videos_are_shown_in_a_notebook(tmp_path: Path) -> None:
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    write_png(tmp_path / "a.png", frames[0])
    write_video(tmp_path / "b.mp4", frames, fps=5)
    shown = Shown(tmp_path / "a.png", tmp_path / "b.mp4")._repr_html_()
    assert base64.b64encode((tmp_path / "b.mp4").read_bytes()).decode() in shown
    assert re.findall(r"<(\w+) ", shown) == ["img", "video"]


def test_a_runs_recording_is_found_by_its_fingerprint(
    opened: Trained, reacher: Path, by_hand: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    run = work / "runs" / "one"
    run.mkdir(parents=True)
    monkeypatch.chdir(work)
    with pytest.raises(RecordingError, match="recordings"):
        find_recording(run, opened.model.interface)
    shutil.copytree(by_hand, work / "recordings" / "a")
    (work / "recordings" / "damaged").mkdir()
    (work / "recordings" / "damaged" / "manifest.json").write_text("{")
    shutil.copytree(reacher, work / "recordings" / "b")
    assert find_recording(run, opened.model.interface) == work / "recordings" / "b"
    shutil.copytree(reacher, work / "runs" / "recording")
    assert find_recording(run, opened.model.interface) == work / "runs" / "recording"
    with Recording.open(find_recording(run, opened.model.interface)) as found:
        assert found.fingerprint == opened.recording.fingerprint


def test_a_plan_of_another_run_with_the_same_task_and_seed_is_told_of_on_the_page(
    opened: Trained, report: Path, tiny_model: WorldModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = WorldModel(tiny_model.config, interface=opened.model.interface).eval()
    trained = dataclasses.replace(opened, folder=report.parent, model=other)
    monkeypatch.setattr("worldmodel.viewing.report.SECTIONS", {"plan": SECTIONS["plan"]})
    text = view_report(trained, tmp_path / "report.html").read_text()
    assert "<h2>Plan</h2>" in text
    assert "is of another model" in text
    assert "at the goal in the end" not in text


def test_the_steps_told_are_those_that_were_taken(
    opened: Trained, tiny_train_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worldmodel.viewing.report.SECTIONS", {"learn": SECTIONS["learn"]})
    by_steps = dataclasses.replace(opened, config=tiny_train_config)
    assert "see 6, forecast 5, guide 3, draw 4" in view_report(by_steps, tmp_path / "a.html").read_text()
    tuned = dataclasses.replace(tiny_train_config, objective=BYOLConfig(), tune=tiny_train_config.see)
    config = dataclasses.replace(opened, config=tuned)
    assert "see 6, tune 6, forecast 5, guide 3, draw 4" in view_report(config, tmp_path / "b.html").read_text()
    by_clock = dataclasses.replace(opened, config=dataclasses.replace(tiny_train_config, minutes=2.5))
    text = view_report(by_clock, tmp_path / "c.html").read_text()
    assert "18 in the 2.5 min" in text  # the sum of the steps above: the run's own total
    assert "see 6" not in text
