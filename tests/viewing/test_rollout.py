"""See what a model imagines: the seen frames decoded, the others forecast without a look at them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from worldmodel.datasets.clips import Clips
from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError
from worldmodel.models.conv import ConvEncoderConfig
from worldmodel.models.decoder import DecoderConfig
from worldmodel.models.interface import Interface
from worldmodel.models.predictor import PredictorConfig
from worldmodel.models.world_model import WorldModel, WorldModelConfig
from worldmodel.training.device import Compute
from worldmodel.viewing.pictures import GAP, LABEL_WIDTH
from worldmodel.viewing.rollout import CLIPS, HOLD, difference, imagine_clips, view_rollout

COMPUTE = Compute(torch.device("cpu"), bf16=False, flops=1.0)


@pytest.fixture
def recording(reacher: Path) -> Iterator[Recording]:
    with Recording.open(reacher) as recording:
        yield recording


@pytest.fixture
def model(recording: Recording) -> WorldModel:
    p = recording.provenance
    interface = Interface(
        p.env, (p.camera,), p.height, p.width, "fast", p.steps_per_frame, p.control_seconds, p.low, p.high
    )
    torch.manual_seed(0)
    config = WorldModelConfig(
        latent=16,
        encoder=ConvEncoderConfig(patch=8, widths=(16, 16)),
        predictor=PredictorConfig(token=32, width=32, hidden=64, positions=8),
        decoder=DecoderConfig(width=16),
    )
    return WorldModel(config, interface=interface)


def test_masked_frames_are_not_looked_at(model: WorldModel, recording: Recording) -> None:
    batch = Clips(recording, np.arange(6), length=8).take(np.arange(3))
    imagined = imagine_clips(model, batch, COMPUTE, visible=3)
    assert imagined.shape == batch.frames.shape
    assert model.training
    hidden, changed = batch.frames.copy(), batch.frames.copy()
    hidden[:, 3:] = 0
    changed[:, 2] = 255 - changed[:, 2]
    assert np.array_equal(imagine_clips(model, replace(batch, frames=hidden), COMPUTE, visible=3), imagined)
    other = imagine_clips(model, replace(batch, frames=changed), COMPUTE, visible=3)
    assert np.array_equal(other[:, :2], imagined[:, :2])
    assert not np.array_equal(other[:, 2:], imagined[:, 2:])
    with torch.no_grad():
        seen = model.eval().picture(model.encode(torch.from_numpy(batch.frames[:, :3]))).numpy()
    assert np.abs(imagined[:, :3].astype(int) - seen).max() <= 1


def test_a_rollout_is_seen(model: WorldModel, recording: Recording, tmp_path: Path) -> None:
    episodes = np.array([1, 4])
    picture, video = view_rollout(model, recording, episodes, COMPUTE, tmp_path, visible=3, horizon=5)
    strip = cv2.imread(str(picture))[..., ::-1]
    real = recording.episode(1).frames[:8]
    dream = imagine_clips(model, Clips(recording, episodes, length=8).take(np.array([0])), COMPUTE, visible=3)[0]
    for column in range(8):
        left = LABEL_WIDTH + column * (32 + GAP)
        assert np.array_equal(strip[:32, left : left + 32], real[column])
        drawn, apart = (strip[row * (32 + GAP) :][:32, left : left + 32].astype(int) for row in (1, 2))
        assert np.abs(drawn - dream[column]).max() <= 1
        assert np.array_equal(apart, np.abs(drawn - real[column]))
    reader = cv2.VideoCapture(str(video))
    assert round(reader.get(cv2.CAP_PROP_FRAME_COUNT)) == CLIPS * (8 + HOLD)
    assert reader.get(cv2.CAP_PROP_FRAME_WIDTH) == 3 * 160 + 2 * GAP


def test_difference_does_not_wrap_around() -> None:
    one, other = np.array([[[0, 200, 7]]], np.uint8), np.array([[[255, 10, 7]]], np.uint8)
    assert difference(one, other).tolist() == [[[255, 190, 0]]]


@pytest.mark.parametrize(("visible", "horizon"), [(3, 6), (0, 3), (3, 0)])
def test_a_rollout_that_does_not_fit_is_refused(
    visible: int, horizon: int, model: WorldModel, recording: Recording, tmp_path: Path
) -> None:
    with pytest.raises(WorldModelError, match="8 positions"):
        view_rollout(model, recording, np.arange(6), COMPUTE, tmp_path, visible=visible, horizon=horizon)
