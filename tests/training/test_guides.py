"""What guides a planner is learned, kept with the run, and belongs to one checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from worldmodel.datasets.reader import Recording
from worldmodel.errors import CheckpointError
from worldmodel.models.guides import Guides, GuidesConfig
from worldmodel.models.proposal import ProposerConfig
from worldmodel.models.temporal_distance import TemporalDistanceConfig
from worldmodel.models.world_model import WorldModel
from worldmodel.training.checkpoint import load_model
from worldmodel.training.device import Compute
from worldmodel.training.guides import GuideConfig, load_guides, train_guides

NETWORKS = GuidesConfig(ProposerConfig(width=32, horizon=3), TemporalDistanceConfig(width=32))
CONFIG = GuideConfig(NETWORKS, steps=60, batch=64, learning_rate=3e-3, farthest=8)


@pytest.fixture
def recording(reacher: Path) -> Iterator[Recording]:
    with Recording.open(reacher) as recording:
        yield recording


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_they_learn_are_kept_and_repeat(run: Path, recording: Recording, cpu: Compute) -> None:
    model = load_model(run)
    assert load_guides(run, model) is None
    one, same = (train_guides(CONFIG, model=model, recording=recording, run=run, compute=cpu) for _ in range(2))
    assert one == same
    untrained = train_guides(replace(CONFIG, steps=1), model=model, recording=recording, run=run, compute=cpu)
    assert one.distance < untrained.distance
    guides = load_guides(run, model)
    assert guides is not None
    assert guides.config == NETWORKS
    assert not guides.training


def test_those_of_another_checkpoint_are_refused(run: Path, recording: Recording, cpu: Compute) -> None:
    model = load_model(run)
    train_guides(replace(CONFIG, steps=1), model=model, recording=recording, run=run, compute=cpu)
    newest = sorted((run / "checkpoints").iterdir())[-1]
    newest.rename(newest.with_name("00009999"))
    with pytest.raises(CheckpointError, match=r"00009999.*worldmodel guide"):
        load_guides(run, model)


def test_damaged_ones_are_refused(run: Path, recording: Recording, cpu: Compute) -> None:
    model = load_model(run)
    train_guides(replace(CONFIG, steps=1), model=model, recording=recording, run=run, compute=cpu)
    weights = run / "guides" / "guides.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_guides(run, model)
    (run / "guides" / "guides.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        load_guides(run, model)


@torch.no_grad()
@pytest.mark.parametrize(("horizon", "steps"), [(2, 1), (3, 2), (5, 1)])
def test_proposals_are_within_the_bounds_and_end_at_the_goal(tiny_model: WorldModel, horizon: int, steps: int) -> None:
    torch.manual_seed(0)
    guides = Guides(NETWORKS, model=tiny_model)
    latents = 10 * torch.randn(3, 4, 8)
    plans = guides.propose(*latents, (horizon, steps, 2))
    known = min(horizon, 3)
    assert plans.shape == (4, known, horizon, steps, 2)
    assert (plans >= tiny_model.low).all()
    assert (plans <= tiny_model.high).all()
    middle = ((tiny_model.low + tiny_model.high) / 2).expand(4, steps, 2)
    for ahead in range(known):
        assert torch.equal(plans[:, ahead, ahead + 1 :], middle[:, None].expand(-1, horizon - ahead - 1, -1, -1))
        assert not torch.equal(plans[:, ahead, ahead], middle)
