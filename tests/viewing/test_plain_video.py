"""What is shown of a run that learned from plain video, without actions and states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from worldmodel.cli.view import Latent, Report, Rollout
from worldmodel.datasets.reader import Recording
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.trainer import Trainer
from worldmodel.viewing.find import Trained, open_trained
from worldmodel.viewing.forecast import dream_episodes
from worldmodel.viewing.latent import draw_latents
from worldmodel.viewing.latents import chart, encode_episodes
from worldmodel.viewing.positions import positions_of


@pytest.fixture(scope="module")
def run(tiny_train_config: TrainConfig, video: Path, cpu: Compute, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "video"
    with Recording.open(video) as recording:
        assert recording.provenance.low == ()
        Trainer(replace(tiny_train_config, held_out=0.4), recording=recording, run=folder, compute=cpu).train()
    return folder


@pytest.fixture(scope="module")
def opened(run: Path, video: Path, cpu: Compute) -> Iterator[Trained]:
    with open_trained(run, video, cpu) as opened:
        yield opened


def test_every_command_shows_it(run: Path, video: Path, tmp_path: Path) -> None:
    shown = [
        *Rollout(run, video, tmp_path, horizon=3, device="cpu").run(),
        *Latent(run, video, tmp_path, device="cpu").run(),
    ]
    assert [path.name for path in shown] == ["rollout.png", "rollout.mp4", "forecast.png", "latent.png", "projector"]
    assert all(path.exists() for path in shown)
    (page,) = Report(run, video, tmp_path / "report.html", device="cpu").run()
    text = page.read_text()
    assert "<h2>Latents</h2>" in text
    assert "view live" not in text  # there is no simulator to steer


def test_it_is_dreamt_on_from_what_was_seen(opened: Trained) -> None:
    dreams = dream_episodes(opened, longest=4)
    assert dreams.error.shape == (len(opened.held_out), 4)
    recorded = opened.recording.episode(int(opened.held_out[0])).frames
    assert np.array_equal(dreams.real[0], recorded[2:6])


def test_without_states_the_latents_are_coloured_by_frame(opened: Trained) -> None:
    encoded = encode_episodes(opened.model, opened.recording, opened.held_out, opened.compute)
    figure = draw_latents(encoded, chart(encoded), positions_of(opened.recording))
    frames = np.concatenate([np.arange(len(episode.latents)) for episode in encoded])
    scatters = [of for axes in figure.axes for of in axes.collections if isinstance(of, PathCollection)]
    assert len(scatters) == 2  # PCA and t-SNE
    for scatter in scatters:
        assert np.array_equal(scatter.get_array(), frames)
        assert scatter.axes is not None
        assert scatter.axes.get_title("left").endswith("coloured by frame")
    (faithful,) = [axes for axes in figure.axes if axes.get_title("left") == "Are far states far apart?"]
    assert [text.get_text() for text in faithful.texts] == ["this recording has no states"]
