"""Plans acted out again, and a run on one page."""

from __future__ import annotations

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from worldmodel.config import to_json
from worldmodel.datasets.reader import Recording
from worldmodel.envs.reacher import Reacher
from worldmodel.errors import RecordingError, WorldModelError
from worldmodel.evaluation.evaluate import EvaluationConfig, evaluate
from worldmodel.evaluation.goals import draw_trials
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.training.device import Compute
from worldmodel.viewing.find import Trained, find_recording, open_trained
from worldmodel.viewing.page import Section, Shown, write_page
from worldmodel.viewing.pictures import write_png
from worldmodel.viewing.plan import view_plan
from worldmodel.viewing.replay import act_again, choose_trials, find_run, read_report
from worldmodel.viewing.report import view_report
from worldmodel.viewing.video import write_video

CONFIG = EvaluationConfig(
    planning=PlanningConfig(horizon=2, history=2, cem=CEMConfig(candidates=8, rounds=2, elites=2)),
    episodes=3,
    ahead=12,
    budget=4,
)


@pytest.fixture
def report(opened: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's copy with a report in it; the folder of the report."""
    monkeypatch.setattr(Reacher, "tolerance", 1e-3)
    run = tmp_path / "run"
    shutil.copytree(opened.folder, run)
    plan = run / "plan"
    plan.mkdir()
    evaluation = evaluate(
        CONFIG, model=opened.model, recording=opened.recording, run=opened.folder, compute=opened.compute
    )
    evaluation.report.write(plan / "report.json")
    (plan / "config.json").write_text(to_json(CONFIG))
    return plan


def test_trials_are_acted_out_again(opened: Trained, report: Path, tmp_path: Path) -> None:
    folder, config = read_report(report / "report.json")
    assert (folder, config) == (report, CONFIG)
    assert find_run(report) == report.resolve().parent
    replays = act_again(opened, config, [0, 2])
    trials = draw_trials(opened.recording, opened.held_out, Reacher(), count=3, ahead=6, seed=0)
    for replay, trial in zip(replays, (trials[0], trials[2]), strict=True):
        assert np.array_equal(replay.goal_image, trial.goal_image)
        assert np.array_equal(replay.frames[0], opened.recording.episode(trial.episode).frames[trial.frame])
        assert replay.distance.shape == (2 * 2 + 1,)
        assert replay.distance[0] == pytest.approx(Reacher().distance(trial.start, trial.goal))
        assert (np.diff(replay.best_by_round) <= 0).all()
    paths = view_plan(opened, report, tmp_path / "out")
    assert [path.name[:9] for path in paths] == ["trial-000", "trial-001", "trial-002"]
    assert cv2.imread(str(paths[0])).shape == (900, 1300, 3)


def test_successes_and_failures_are_chosen(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("001-solved", "002-solved", "003-solved", "000-missed"):
        (tmp_path / "videos" / f"trial-{name}.mp4").touch()
    assert choose_trials(tmp_path, EvaluationConfig()) == [0, 1, 2]
    assert choose_trials(tmp_path / "none", EvaluationConfig(episodes=3)) == [0, 1, 2]


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
