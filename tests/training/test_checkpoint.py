"""Checkpoints come back bit by bit, and damaged ones are refused by name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from worldmodel.errors import CheckpointError
from worldmodel.models.world_model import WorldModel
from worldmodel.training.checkpoint import (
    Position,
    has_checkpoint,
    load_model,
    load_training,
    newest,
    read_card,
    save_checkpoint,
)

POSITION = Position("draw", 3, 1.0, 3, 1.0, 1.5, finished=True)


@pytest.fixture
def run(tiny_model: WorldModel, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "run", tiny_model, {"a/step": torch.tensor(3.0)}, replace(POSITION, total=3), bf16=True)
    return tmp_path / "run"


def test_there_and_back(tiny_model: WorldModel, run: Path) -> None:
    loaded = load_model(run)
    assert loaded.config == tiny_model.config
    assert loaded.interface == tiny_model.interface
    assert not loaded.training
    expected = tiny_model.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, expected[name]), name
    card = read_card(newest(run))
    assert (card.position, card.bf16) == (POSITION, True)
    assert load_training(newest(run)) == {"a/step": torch.tensor(3.0)}


def test_a_model_whose_training_stopped_on_the_way_is_refused(tiny_model: WorldModel, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, tiny_model, {}, Position("see", 3, 0.25, 3, 1.0, 1.5), bf16=False)
    with pytest.raises(CheckpointError, match=r"not finished.*stage 'see' at step 3.*worldmodel train"):
        load_model(tmp_path)


def test_no_pickle(run: Path) -> None:
    files = [path for path in run.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}


def test_the_last_two_are_kept(tiny_model: WorldModel, run: Path) -> None:
    for number in (5, 9, 100):
        save_checkpoint(run, tiny_model, {}, replace(POSITION, total=number), bf16=False)
    assert sorted(int(path.name) for path in (run / "checkpoints").iterdir()) == [9, 100]
    assert int(newest(run).name) == 100


def test_a_checkpoint_is_on_the_disk_before_it_counts(
    tiny_model: WorldModel, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, synced = run / "checkpoints", []

    def sync(path: Path) -> None:
        synced.append((str(path.relative_to(folder)), int(newest(run).name)))

    monkeypatch.setattr("worldmodel.training.checkpoint.sync", sync)
    save_checkpoint(run, tiny_model, {}, replace(POSITION, total=7), bf16=False)
    files = {f"00000007.partial/{name}" for name in ("model.safetensors", "training.safetensors", "checkpoint.json")}
    assert set(synced[:3]) == {(name, 3) for name in files}
    assert synced[3:] == [("00000007.partial", 3), (".", 7)]


def test_only_whole_checkpoints_count(tiny_model: WorldModel, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(newest(run), run / "checkpoints" / "00000009.partial")
    assert int(newest(run).name) == 3

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("worldmodel.training.checkpoint.save_file", full)
    with pytest.raises(CheckpointError, match="No space"):
        save_checkpoint(run, tiny_model, {}, replace(POSITION, total=7), bf16=False)
    assert int(newest(run).name) == 3
    load_model(run)


@pytest.mark.parametrize("what", ["nothing", "empty"])
def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "run"
    if what == "empty":
        (folder / "checkpoints" / "00000004.partial").mkdir(parents=True)
    assert not has_checkpoint(folder)
    with pytest.raises(CheckpointError, match=str(folder)):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("fault", ["missing", "empty", "cut"])
def test_a_damaged_file_is_named(run: Path, name: str, fault: str) -> None:
    path = newest(run) / name
    whole = path.read_bytes()
    path.unlink()
    if fault != "missing":
        path.write_bytes(b"" if fault == "empty" else whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=f"{name}.*missing or damaged"):
        load_model(run)


@pytest.mark.parametrize("fault", ["shape", "absent", "foreign"])
def test_a_tensor_that_does_not_fit_is_named(run: Path, fault: str) -> None:
    path = newest(run) / "model.safetensors"
    tensors = load_file(path)
    name = "predictor.embed_latent.weight"
    if fault == "shape":
        tensors[name] = tensors[name][:, :-1].contiguous()
    elif fault == "absent":
        del tensors[name]
    else:
        name = "predictor.nonsense"
        tensors[name] = torch.zeros(1)
    path.unlink()
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=name):
        load_model(run)


def test_a_configuration_that_does_not_fit_is_refused(run: Path) -> None:
    path = newest(run) / "checkpoint.json"
    card = json.loads(path.read_text())
    card["config"]["latent"] = 9
    path.write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=r"another shape.*8\], expected .*9\]"):
        load_model(run)
    card["config"]["latents"] = card["config"].pop("latent")
    path.write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="latents"):
        load_model(run)
