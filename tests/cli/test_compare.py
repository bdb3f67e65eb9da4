"""The comparison: from one recording to the table, with two cameras, after an interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from worldmodel.cli import compare as compare_module
from worldmodel.cli.compare import Command
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import EvaluationConfig
from worldmodel.evaluation.measure import MeasureConfig
from worldmodel.evaluation.probe import ProbeConfig
from worldmodel.evaluation.probes.mlp import MLPProbeConfig
from worldmodel.evaluation.probes.tuning import TuneConfig
from worldmodel.evaluation.ranking import METRICS
from worldmodel.objectives.vicreg import VICRegConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.training.config import TrainConfig, read_train_config

MLP = MLPProbeConfig(width=8, steps=4, batch=8, checks=2)


@pytest.fixture
def command(
    tiny_train_config: TrainConfig, two_cameras: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Two objectives, each trained for a moment."""

    def config(preset: str, objective: str, *, fine_tune: bool) -> TrainConfig:
        if objective == "masked-future":
            return tiny_train_config
        dynamics = tiny_train_config.objective
        tune = tiny_train_config.see if fine_tune else None
        return replace(tiny_train_config, objective=VICRegConfig(), dynamics=dynamics, tune=tune)

    monkeypatch.setattr(compare_module, "train_config", config)
    return Command(
        two_cameras,
        out=tmp_path,
        objectives=("masked-future", "vicreg"),
        cameras=("top", ""),
        proprioception=True,
        fine_tune=True,
        measure=MeasureConfig(length=5, visible=2, probe=MLP),
        probe=ProbeConfig(labels=("100%",), seeds=1, visible=2, controls=False, mlp=MLP, tune=TuneConfig(seeds=0)),
        plan=EvaluationConfig(planning=PlanningConfig(horizon=2, history=2), episodes=2, ahead=8, budget=4),
        device="cpu",
    )


def test_two_objectives_and_once_more(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command.run()
    found = json.loads((command.out / "comparison.json").read_text())
    assert found["env"] == "worldmodel/Reacher-v0"
    assert {row["objective"] for row in found["objectives"]} == set(command.objectives)
    for row in found["objectives"]:
        assert row["runs"] == 1
        assert row["success"]["count"] == 2
        assert set(row["positions"]) == set(row["velocities"]) == {"100%"}
    table = (command.out / "comparison.md").read_text()
    assert all(f"| {name} |" in table for name in (*command.objectives, "(uniform actions)", "(zero actions)"))
    assert all(table.count(f"| {name} |") == 2 for name in command.objectives)
    for name in command.objectives:
        config = read_train_config(command.out / f"{name}-0")
        assert config.cameras == ("top", "")
        assert config.model.proprioception
        assert (config.tune is not None) == (name == "vicreg")

    for part in ("measure_with_bar", "probe_with_bar", "plan_with_bar"):  # whatever would be made again fails
        monkeypatch.delattr(compare_module, part)
    before = (command.out / "comparison.json").read_text()
    command.run()
    assert (command.out / "comparison.json").read_text() == before


def test_video_without_actions_is_compared_too(command: Command, video: Path) -> None:
    replace(command, recording=video, cameras=(), proprioception=False).run()
    _, line = (x for x in (command.out / "comparison.md").read_text().splitlines() if "| vicreg |" in x)
    found = json.loads((command.out / "comparison.json").read_text())
    assert set(found["objectives"][0]["metrics"]) == {name for name, metric in METRICS.items() if not metric.needs}
    assert line.split("|")[-2].strip() == ""  # action_transfer
    assert found["ranking"] == []


def test_what_cannot_be_compared_is_refused_before_anything_is_made(command: Command) -> None:
    plan = replace(command.plan, episodes=1000)
    for change, named in (
        ({"plan": plan}, r"Only \d+ of 1000 trials.*--plan\.episodes"),
        ({"objectives": ()}, "Nothing to compare"),
        ({"seeds": (1, 1)}, "each once"),
        ({"cameras": ("side",)}, "side"),
        ({"probe": replace(command.probe, labels=("1%", "100%"))}, "0.01 of 5 training episodes are 0 labelled ones"),
    ):
        with pytest.raises(WorldModelError, match=named):
            replace(command, **change).run()  # type: ignore[arg-type]
        assert not list(command.out.iterdir())
