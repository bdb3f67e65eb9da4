"""`worldmodel measure` and `worldmodel probe`: tables to read, reports to keep, and mistakes in one paragraph."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from worldmodel.cli.main import run
from worldmodel.datasets.reader import Recording
from worldmodel.evaluation.measure import MeasureReport
from worldmodel.evaluation.probes.report import ProbeReport
from worldmodel.evaluation.ranking import METRICS
from worldmodel.training.checkpoint import newest, read_card
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.trainer import Trainer

MEASURE = ["--length", "5", "--visible", "2", "--probe.steps", "5", "--device", "cpu"]
PROBE = ["--labels", "40%", "100%", "--seeds", "1", "--visible", "2", "--mlp.steps", "5", "--device", "cpu"]
NO_TUNING = ["--tune.seeds", "0"]


@pytest.fixture
def own_run(trained: Path, tmp_path: Path) -> Path:
    """The tiny run, to be written into."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def error_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    assert run(arguments) == 2
    return " ".join(capsys.readouterr().err.split())


def test_measure_prints_and_writes(
    capsys: pytest.CaptureFixture[str], trained: Path, reacher: Path, tmp_path: Path
) -> None:
    assert run(["measure", str(trained), str(reacher), "--out", str(tmp_path), *MEASURE]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in METRICS)
    assert "frames ahead" in text
    assert MeasureReport.read(tmp_path / "report.json").episodes == 1
    assert json.loads((tmp_path / "config.json").read_text())["length"] == 5


def test_measure_takes_video_without_actions(
    capsys: pytest.CaptureFixture[str], tiny_train_config: TrainConfig, video: Path, cpu: Compute, tmp_path: Path
) -> None:
    with Recording.open(video) as recording:
        Trainer(tiny_train_config, recording=recording, run=tmp_path, compute=cpu).train()
    assert run(["measure", str(tmp_path), str(video), *MEASURE]) == 0
    text = capsys.readouterr().out
    for name, metric in METRICS.items():
        (line,) = (line for line in text.splitlines() if f" {name} " in line)
        assert (f"no {metric.needs}" in line) == bool(metric.needs)
    assert "copy the last frame seen" in text
    assert "shuffled actions" not in text
    report = MeasureReport.read(tmp_path / "measure" / "report.json")
    assert (report.actions, report.shuffled_actions, report.state_cka) == (None, None, None)
    values = [metric.of(report) for metric in METRICS.values() if not metric.needs]
    assert all(value is not None and math.isfinite(value) for value in values)
    assert "no physics states" in error_of(capsys, ["probe", str(tmp_path), str(video), *PROBE, *NO_TUNING])


def test_probe_prints_and_writes(
    capsys: pytest.CaptureFixture[str], own_run: Path, reacher: Path, tmp_path: Path
) -> None:
    tuned = ["--tune.seeds", "1", "--tune.steps", "1", "--tune.scratch-steps", "1"]
    assert run(["probe", str(own_run), str(reacher), "--out", str(tmp_path), *PROBE, *tuned]) == 0
    text = capsys.readouterr().out
    for part in ("world model, ridge", "PCA of pixels, MLP", "from scratch", "elbow velocity [rad/s]", "elbow [rad]"):
        assert part in text
    assert ProbeReport.read(tmp_path / "report.json").training_episodes == 5
    assert run(["probe", str(own_run), str(reacher), "--out", str(tmp_path), *PROBE, *NO_TUNING]) == 0
    assert "no encoder was trained" in capsys.readouterr().out


def test_probe_tells_tensorboard_and_json_lines(own_run: Path, reacher: Path) -> None:
    arguments = ["probe", str(own_run), str(reacher), *PROBE, "--no-controls"]
    assert run([*arguments, "--tune.seeds", "1", "--tune.steps", "1", "--tune.scratch-steps", "1"]) == 0
    tags = {
        f"probe/{kind}/{method}/{share}_percent"
        for kind in ("positions", "velocities")
        for method in ("ridge", "MLP", "fine-tuned")
        for share in (40, 100)
    }
    assert set(probe_scalars(own_run)) == tags
    assert run([*arguments, *NO_TUNING]) == 0  # takes the place of what was told before
    found = probe_scalars(own_run)
    assert set(found) == {tag for tag in tags if "fine-tuned" not in tag}
    ended = read_card(newest(own_run)).position.total
    for result in ProbeReport.read(own_run / "probe" / "report.json").results:
        if result.features == "z_t-1, z_t":
            for kind, spread in (("positions", result.readings.positions), ("velocities", result.readings.velocities)):
                assert spread
                ((step, value),) = found[f"probe/{kind}/{result.method}/{round(100 * result.labels)}_percent"]
                assert (step, value) == (ended, pytest.approx(spread.mean, rel=1e-6))
    (line,) = (own_run / "findings.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert (told.pop("step"), told.pop("name")) == (ended, "probe")
    assert told == pytest.approx({tag: value for tag, ((_, value),) in found.items()}, rel=1e-6)


def probe_scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return steps and values by tag, of those that begin with `probe/`; of training there are others still."""
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert any(tag.startswith("train/") for tag in tags)
    return {tag: [(x.step, x.value) for x in events.Scalars(tag)] for tag in tags if tag.startswith("probe/")}


@pytest.mark.parametrize(
    ("command", "report"),
    [(["measure", *MEASURE], MeasureReport), (["probe", *PROBE, *NO_TUNING, "--no-controls"], ProbeReport)],
)
def test_a_kill_leaves_no_earlier_report_beside_another_configuration(
    own_run: Path,
    reacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    report: type[MeasureReport | ProbeReport],
) -> None:
    def killed(self: MeasureReport | ProbeReport, path: Path) -> None:
        raise KeyboardInterrupt

    (tmp_path / "recording").symlink_to(reacher)  # beside the run, where it is found
    folder = own_run / command[0]
    folder.mkdir()
    (folder / "report.json").write_text("{}")
    monkeypatch.setattr(report, "write", killed)
    assert run([command[0], str(own_run), *command[1:]]) == 130
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_mistakes_are_told(capsys: pytest.CaptureFixture[str], trained: Path, reacher: Path, tmp_path: Path) -> None:
    where, out = [str(trained), str(reacher)], ["--out", str(tmp_path / "out")]
    assert "at most the 5 frames" in error_of(capsys, ["measure", *where, *out, "--device", "cpu"])
    assert "--labels 30% 100%" in error_of(capsys, ["probe", *where, *out, "--labels", "1%", "--device", "cpu"])
    assert "labels is 'half'" in error_of(capsys, ["probe", *where, *out, "--labels", "half"])
    assert "worldmodel train" in error_of(capsys, ["measure", str(tmp_path), str(reacher)])
    unfinished = tmp_path / "unfinished"
    shutil.copytree(trained, unfinished)
    card = sorted((unfinished / "checkpoints").iterdir())[-1] / "checkpoint.json"
    card.write_text(card.read_text().replace('"finished": true', '"finished": false'))
    assert "is not finished" in error_of(capsys, ["probe", str(unfinished), str(reacher), *PROBE, *NO_TUNING])
    assert not (tmp_path / "out").exists()
