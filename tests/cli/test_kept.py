"""What is there already, and how it differs from what is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldmodel.cli.kept import differences, is_made, refuse_other_settings
from worldmodel.config import to_json
from worldmodel.datasets.recorder import RecordConfig
from worldmodel.errors import WorldModelError
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
