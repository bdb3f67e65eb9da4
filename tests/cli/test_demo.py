"""The demo: the whole way with a tiny model, a second time, and after an interruption."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from worldmodel.cli import demo, pipeline
from worldmodel.cli.demo import run_demo
from worldmodel.cli.pipeline import PipelineConfig
from worldmodel.datasets.recorder import RecordConfig
from worldmodel.evaluation.evaluate import EvaluationConfig
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.planning.proposal import ProposalConfig
from worldmodel.training.config import TrainConfig
from worldmodel.training.stage import StageConfig


@pytest.fixture
def tiny_demo() -> PipelineConfig:
    train = TrainConfig(log_every=2, save_every=2)
    return PipelineConfig(
        record=RecordConfig(frames=200, episode_frames=20, height=32, width=32, workers=1),
        train=replace(
            train,
            see=StageConfig(steps=4, batch=4, length=5),
            forecast=StageConfig(steps=4, batch=4, length=8),
            guide=StageConfig(steps=2, batch=4, length=6),
            draw=StageConfig(steps=2, batch=2, length=5),
        ),
        plan=EvaluationConfig(
            planning=PlanningConfig(
                proposal=ProposalConfig(search=True, cem=CEMConfig(candidates=8, rounds=2, elites=2))
            ),
            episodes=3,
            budget=10,
        ),
    )


def no_pictures(trained: object, path: Path, progress: object) -> Path:
    """Stand in for `view_report`, which takes seconds, where its page is not looked at."""
    return path


def test_a_demo_leaves_its_report_and_a_second_one_keeps_the_first(
    tiny_demo: PipelineConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "demo"
    run_demo(tiny_demo, out, "cpu")
    report = json.loads((out / "report.json").read_text())
    assert {"success", "success_low", "success_high", "episodes", "random", "zero", "seconds"} <= set(report)
    assert report["episodes"] == 3
    assert 0 <= report["success_low"] <= report["success"] <= report["success_high"] <= 1
    assert set(report["seconds"]) == {"record", "train", "plan", "see"}
    assert all(report["seconds"][part] > 0 for part in ("record", "train", "plan"))
    assert len(list((out / "plan" / "videos").glob("*.mp4"))) == 3
    assert cv2.imread(str(out / "summary.png")) is not None
    assert len(re.findall("<section", (out / "report.html").read_text())) == 6
    said = " ".join(capsys.readouterr().out.split())
    assert f"{out / 'report.html'}" in said
    assert f" view live {out / 'model'} {out / 'recording'}" in said

    monkeypatch.setattr(demo, "view_report", no_pictures)
    run_demo(tiny_demo, out, "cpu")
    earlier = next(path for path in tmp_path.iterdir() if path != out)
    assert json.loads((earlier / "report.json").read_text()) == report
    again = json.loads((out / "report.json").read_text())
    assert {name: again[name] for name in ("success", "random", "zero")} == {
        name: report[name] for name in ("success", "random", "zero")
    }


def test_an_interrupted_demo_goes_on_where_it_stopped(
    tiny_demo: PipelineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "demo"
    monkeypatch.setattr(demo, "view_report", no_pictures)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "plan_with_bar", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_demo(tiny_demo, out, "cpu")
    manifest = (out / "recording" / "manifest.json").read_bytes()
    weights = sorted((out / "model" / "checkpoints").iterdir())[-1] / "model.safetensors"
    trained = weights.read_bytes()
    run_demo(tiny_demo, out, "cpu")
    assert json.loads(manifest)["shards"] == json.loads((out / "recording" / "manifest.json").read_bytes())["shards"]
    assert weights.read_bytes() == trained
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
