"""The benchmark: from nothing to the table, after an interruption, with other settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from worldmodel.cli import pipeline
from worldmodel.cli.benchmark import Command, run_benchmark
from worldmodel.cli.main import run
from worldmodel.cli.pipeline import PipelineConfig
from worldmodel.datasets.recorder import RecordConfig
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import EvaluationConfig
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.training.config import TrainConfig
from worldmodel.training.optimiser import OptimiserConfig

Tiny = Callable[[str], PipelineConfig]


@pytest.fixture
def tiny(tiny_train_config: TrainConfig) -> Tiny:
    """Return the three stages of a task, as small as can be."""
    planning = PlanningConfig(horizon=2, history=2, cem=CEMConfig(candidates=8, rounds=2, elites=2))

    def config(task: str) -> PipelineConfig:
        return PipelineConfig(
            record=RecordConfig(
                env=f"worldmodel/{task}-v0", frames=120, episode_frames=10, height=32, width=32, workers=1
            ),
            train=replace(tiny_train_config, see=replace(tiny_train_config.see, optimiser=OptimiserConfig(1e-4))),
            plan=EvaluationConfig(planning=planning, episodes=3, oracle=1, ahead=20, budget=10),
        )

    return config


def test_two_tasks_from_nothing_and_once_more(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_benchmark({"TwoRoom": tiny("TwoRoom")}, (0, 1), tmp_path, "cpu")
    run_benchmark({"Reacher": tiny("Reacher")}, (0, 1), tmp_path, "cpu")
    rows = {row["task"]: row for row in json.loads((tmp_path / "table.json").read_text())["rows"]}
    assert list(rows) == ["TwoRoom", "Reacher"]
    for task, row in rows.items():
        assert row["pool"] == json.loads((tmp_path / task / "pool.json").read_text())
        assert row["pool"]["env"] == f"worldmodel/{task}-v0"
        assert row["pool"]["training_seeds"] == [0, 1]
        assert row["pool"]["success"]["count"] == 6
        assert row["pool"]["oracle"]["count"] == 2
        assert {"uniform", "zero", "explore"} <= set(row["pool"]["floors"])
        assert row["minutes"] > 0
        missed = sum(len(failed["videos"]) for failed in row["failures"])
        assert missed == 6 - round(6 * row["pool"]["success"]["value"])
        for failed in row["failures"]:
            assert all((tmp_path / failed["folder"] / name).is_file() for name in failed["videos"])
    recordings = [(tmp_path / f"TwoRoom/seed-{seed}/recording/manifest.json").read_text() for seed in (0, 1)]
    assert json.loads(recordings[0])["shards"] != json.loads(recordings[1])["shards"]

    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    capsys.readouterr()
    monkeypatch.delattr(pipeline, "record_with_bar")  # whatever would be made again fails
    run_benchmark({name: tiny(name) for name in ("TwoRoom", "Reacher")}, (0, 1), tmp_path, "cpu")
    assert capsys.readouterr().out.count("finished before, kept") == 4
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == table


def test_an_interrupted_one_goes_on_where_it_stopped(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"Reacher": tiny("Reacher")}
    plan, reports = pipeline.plan_with_bar, tmp_path / "Reacher"

    def interrupt_the_second(*arguments: object) -> object:
        if (reports / "seed-0/plan/report.json").exists():
            raise KeyboardInterrupt
        return plan(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "plan_with_bar", interrupt_the_second)
        with pytest.raises(KeyboardInterrupt):
            run_benchmark(config, (0, 1), tmp_path, "cpu")
    assert not (tmp_path / "table.json").exists()
    first = (reports / "seed-0/plan/report.json").read_bytes()
    weights = sorted((reports / "seed-1/model/checkpoints").iterdir())[-1] / "model.safetensors"
    trained = weights.read_bytes()
    run_benchmark(config, (0, 1), tmp_path, "cpu")
    assert (reports / "seed-0/plan/report.json").read_bytes() == first
    assert weights.read_bytes() == trained
    assert json.loads((reports / "pool.json").read_text())["training_seeds"] == [0, 1]

    capsys.readouterr()  # another plan is made in the place of the earlier one, by the same models
    again = replace(config["Reacher"], plan=replace(config["Reacher"].plan, episodes=2))
    run_benchmark({"Reacher": again}, (0, 1), tmp_path, "cpu")
    assert "episodes was 3, is now 2" in " ".join(capsys.readouterr().out.split())
    assert json.loads((reports / "pool.json").read_text())["success"]["count"] == 4
    assert weights.read_bytes() == trained

    other = replace(config["Reacher"], train=replace(config["Reacher"].train, log_every=2))
    with pytest.raises(WorldModelError, match=r"seed-0/model' was made with other settings: log_every was 3, is now 2"):
        run_benchmark({"Reacher": other}, (0, 1), tmp_path, "cpu")
    other = replace(config["Reacher"], record=replace(config["Reacher"].record, frames=300))
    with pytest.raises(WorldModelError, match=r"seed-1/recording' was made with other.*frames was 120, is now 300"):
        run_benchmark({"Reacher": other}, (2, 1), tmp_path, "cpu")
    assert not (reports / "seed-2").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["TwoRooms"], "Did you mean 'TwoRoom'? Valid: Cartpole, Cube,"),
        (["TwoRoom", "--seeds", "1", "1"], "each once"),
        (["TwoRoom", "--minutes", "0"], "minutes is 0.0"),
        (["TwoRoom", "--oracle", "101"], "oracle is 101"),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(
    arguments: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["benchmark", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert named in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_options_take_the_place_of_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, PipelineConfig] = {}
    monkeypatch.setattr("worldmodel.cli.benchmark.run_benchmark", lambda configs, *_: asked.update(configs))
    Command(out=tmp_path).run()
    assert list(asked) == ["Reacher", "TwoRoom", "PointMaze", "PushT", "Cube", "Cartpole", "Rope"]
    assert (asked["PushT"].record.frames, asked["PushT"].train.minutes) == (400_000, 30)
    assert (asked["PushT"].plan.episodes, asked["PushT"].plan.protocol) == (100, "near")
    Command(("Rope",), tmp_path, frames=500, minutes=2.0, episodes=4, oracle=0, planner="gradient").run()
    rope = asked["Rope"]
    assert (rope.record.frames, rope.train.minutes, rope.plan.episodes) == (500, 2.0, 4)
    assert (rope.plan.planning.planner, rope.plan.oracle) == ("gradient", 0)
