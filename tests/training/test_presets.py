"""Presets are whole configurations, which any objective and encoder can be trained by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from worldmodel.cli.main import run
from worldmodel.config import from_json, to_json
from worldmodel.errors import WorldModelError
from worldmodel.models.presets import PRESETS
from worldmodel.models.vit import ViTEncoderConfig
from worldmodel.objectives.registry import OBJECTIVES, objective_name
from worldmodel.training.config import TrainConfig, read_train_config
from worldmodel.training.presets import train_config

TINY = [
    *("--device", "cpu", "--model.latent", "8", "--model.encoder.widths", "8", "16"),
    *("--model.predictor.width", "16", "--model.predictor.hidden", "16", "--model.predictor.positions", "5"),
    *("--model.decoder.width", "16", "--see.steps", "2", "--see.batch", "4", "--forecast.steps", "2"),
    *("--forecast.batch", "4", "--forecast.length", "5", "--guide.steps", "1", "--guide.batch", "4"),
    *("--draw.steps", "1", "--draw.batch", "2"),
]


@pytest.mark.parametrize("size", PRESETS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_preset_with_every_objective(size: str, objective: str) -> None:
    config = train_config(size, objective)
    assert objective_name(config.objective) == objective
    assert from_json(TrainConfig, to_json(config)) == config
    assert config.masking == (config.objective if objective == "masked-future" else config.dynamics)
    assert config.masking.anti_collapse_weight * config.see.batch == pytest.approx(6.4)


def test_unknown_names_and_needless_tuning_are_refused() -> None:
    for arguments, named in ((("huge",), "preset"), (("tiny", "sinclr"), "Did you mean 'simclr'")):
        with pytest.raises(WorldModelError, match=named):
            train_config(*arguments)
    with pytest.raises(WorldModelError, match="encoder"):
        train_config(encoder="resnet")
    with pytest.raises(WorldModelError, match="tune is set"):
        train_config(fine_tune=True)


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "masked-future"])
def test_every_objective_is_trained_from_the_command_line(reacher: Path, tmp_path: Path, objective: str) -> None:
    options = ["--objective", objective, *(["--fine-tune", "--tune.steps", "2"] if objective == "byol" else [])]
    assert run(["train", str(reacher), "--out", str(tmp_path), *TINY, *options]) == 0
    config = read_train_config(tmp_path)
    assert objective_name(config.objective) == objective
    assert (config.tune is not None) == (objective == "byol")


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--model.latent", "-1", "latent is -1; expected at least 1"),
        ("--model.inverse.width", "0", "width of the inverse dynamics is 0; expected at least 1"),
        ("--objective.inverse-weight", "nan", "inverse_weight is nan; expected 0 or more"),
    ],
)
def test_an_impossible_value_is_refused(
    reacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, told: str
) -> None:
    assert run(["train", str(reacher), "--out", str(tmp_path / "run"), option, value]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_an_encoder_is_chosen_from_the_command_line(reacher: Path, tmp_path: Path) -> None:
    widths = TINY.index("--model.encoder.widths")
    size = ["--model.encoder.width", "16", "--model.encoder.depth", "1", "--model.encoder.heads", "2"]
    arguments = [*TINY[:widths], *TINY[widths + 3 :], "--encoder", "vit", *size]
    assert run(["train", str(reacher), "--out", str(tmp_path), *arguments]) == 0
    encoder = read_train_config(tmp_path).model.encoder
    assert isinstance(encoder, ViTEncoderConfig)
    assert replace(encoder, width=16) == encoder
