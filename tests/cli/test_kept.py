"""What is there already, and how it differs from what is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldmodel.cli.kept import begin_report, differences, is_made, open_recording, refuse_other_settings
from worldmodel.config import to_json
from worldmodel.datasets.recorder import RecordConfig
from worldmodel.errors import CheckpointError, RecordingError, WorldModelError
from worldmodel.training.config import TrainConfig


def test_settings_that_differ_are_named(tmp_path: Path) -> None:
    config = TrainConfig()
    assert differences(tmp_path, config) == []
    refuse_other_settings(tmp_path / "nothing", config)
    (tmp_path / "config.json").write_text(to_json(TrainConfig(minutes=5.0)))
    assert differences(tmp_path, config) == ["minutes was 5.0, is now None"]
    (tmp_path / "config.json").write_text(to_json(config).replace('"steps": 4000', '"steps": 40'))
    with pytest.raises(WorldModelError, match=r"forecast.steps was 40, is now 4000.*--out"):
        refuse_other_settings(tmp_path, config)
    (tmp_path / "config.json").write_text(to_json(config).replace('"whiten_floor"', '"whitening"'))
    assert [line.split()[0] for line in differences(tmp_path, config)] == ["whiten_floor", "whitening"]


@pytest.mark.parametrize("text", ["[1]", "{", ""])
def test_what_is_no_configuration_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WorldModelError, match=r"its config.json cannot be read"):
        refuse_other_settings(tmp_path, RecordConfig())


def test_a_report_counts_with_its_settings(tmp_path: Path) -> None:
    config, report = RecordConfig(), tmp_path / "report.json"
    (tmp_path / "config.json").write_text(to_json(config))
    assert not is_made(report, config)
    report.write_text("{}")
    assert is_made(report, config)
    assert not is_made(report, RecordConfig(seed=1))


def test_a_report_that_is_begun_does_not_count(tmp_path: Path) -> None:
    old, new, report = RecordConfig(), RecordConfig(seed=1), tmp_path / "new" / "report.json"
    begin_report(report.parent, old)
    report.write_text("{}")
    assert is_made(report, old)
    begin_report(report.parent, new)
    assert not is_made(report, new)


def test_a_runs_recording_is_opened(
    trained: Path, reacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_recording(tmp_path / "nothing", reacher) as named:
        assert named.folder == reacher
    with pytest.raises(RecordingError, match="Give its folder after the run's"):
        open_recording(trained, None)
    with pytest.raises(CheckpointError, match="No trained model"):
        open_recording(tmp_path / "nothing", None)
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "it").symlink_to(reacher)
    with open_recording(trained, None) as found:
        assert found.fingerprint == named.fingerprint
