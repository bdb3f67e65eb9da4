"""A run is measured on episodes that it never saw, the same way each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.datasets.schema import Episode
from worldmodel.datasets.store import RecordingStore
from worldmodel.errors import RecordingError, WorldModelError
from worldmodel.evaluation import latents as module
from worldmodel.evaluation.latents import (
    check_alive,
    choose_episodes,
    cut_clips,
    encode_episodes,
    forecast,
    untrained,
)
from worldmodel.evaluation.measure import MeasureConfig, MeasureReport, measure
from worldmodel.evaluation.probes.data import read_probe_data
from worldmodel.evaluation.probes.mlp import MLPProbeConfig
from worldmodel.evaluation.ranking import METRICS
from worldmodel.models.world_model import WorldModel, WorldModelConfig
from worldmodel.training import encode as encode_module
from worldmodel.training.checkpoint import load_model
from worldmodel.training.config import TrainConfig, interface_of
from worldmodel.training.device import Compute

CONFIG = MeasureConfig(length=5, visible=2, probe=MLPProbeConfig(width=8, steps=5, batch=8, checks=2))


@pytest.fixture
def recording(reacher: Path) -> Iterator[Recording]:
    with Recording.open(reacher) as recording:
        yield recording


def test_a_run_is_measured_on_held_out_episodes(
    trained: Path, recording: Recording, cpu: Compute, tiny_train_config: TrainConfig, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    one, same = (
        measure(
            CONFIG,
            model=load_model(trained),
            recording=recording,
            run=trained,
            compute=cpu,
            progress=lambda done, total: told.append((done, total)),
        )
        for _ in range(2)
    )
    assert replace(one, seconds=0.0) == replace(same, seconds=0.0)
    _, held_out = split_episodes(recording.episodes, tiny_train_config.held_out, tiny_train_config.seed)
    assert one.episodes == len(held_out)
    assert one.frames == recording.whole_frames[held_out].sum()
    assert told[-1] == (recording.frames, recording.frames)
    assert len(one.rollout_error) == len(one.copy_last) == len(one.shuffled_actions) == 3
    values = [metric.of(one) for metric in METRICS.values()]
    assert np.isfinite([value for value in values if value is not None]).all()
    assert one.state_cka is not None
    assert 0 <= one.state_cka <= 1
    one.write(tmp_path / "report.json")
    assert MeasureReport.read(tmp_path / "report.json") == one


def test_copying_the_last_frame_is_what_it_says(trained: Path, recording: Recording, cpu: Compute) -> None:
    model = load_model(trained)
    report = measure(CONFIG, model=model, recording=recording, run=trained, compute=cpu)
    _, held_out = split_episodes(recording.episodes, 0.1, 1)
    (episode,) = encode_episodes(model, recording, held_out, cpu)
    z = episode.latents
    moved = torch.stack([(z[t + 2] - z[t + 1]).square().mean() for t in range(len(z) - 4)]).mean()
    assert report.copy_last[0] == pytest.approx(float(moved / z.var(0).mean()), rel=1e-4)


def test_clips_lie_where_they_say(tiny_model: WorldModel, recording: Recording, cpu: Compute) -> None:
    told: list[int] = []
    episodes = encode_episodes(tiny_model, recording, np.array([0, 2, 5]), cpu, told.append)
    assert told == [10, 10, 10]
    assert episodes[1].latents.shape == (10, 8)
    assert episodes[1].blocks.shape == (9, 2, 2)
    frames = torch.from_numpy(recording.episode(2).frames)
    assert torch.allclose(episodes[1].latents, tiny_model.encode(frames), atol=1e-5)
    clips = cut_clips(episodes, length=4, most=100)
    assert len(clips.latents) == 3 * 7
    for index in (0, 9, 20):
        e, t = clips.episode[index], clips.start[index]
        assert torch.equal(clips.latents[index], episodes[e].latents[t : t + 4])
        assert torch.equal(clips.blocks[index], episodes[e].blocks[t : t + 3])
    assert len(cut_clips(episodes, length=4, most=5).latents) == 5
    with pytest.raises(RecordingError, match=r"No held-out episode has 11 frames; the longest has 10.*--length"):
        cut_clips(episodes, length=11, most=5)


def test_an_episode_of_one_frame_has_no_blocks(
    tiny_model_config: WorldModelConfig,
    provenance: Provenance,
    make_episode: Callable[[int], Episode],
    cpu: Compute,
    tmp_path: Path,
) -> None:
    """Such as one that ended within its first block; whatever reads whole episodes reads it with the others."""
    size = {"height": 32, "width": 32}
    with RecordingStore(tmp_path, replace(provenance, simulation=None, **size), resume=False) as store:
        for place, number in enumerate((0, 4)):
            episode = make_episode(number)
            store.add(replace(episode, index=place, pictures={"frames/top": np.tile(episode.frames, (1, 4, 4, 1))}))
        store.finish(seconds=1.0)
    both = np.arange(2)
    with Recording.open(tmp_path) as recording:
        assert recording.whole_frames.tolist() == [5, 1]
        model = WorldModel(tiny_model_config, interface=interface_of(recording)).eval()
        found = encode_episodes(model, recording, both, cpu)
        assert [tuple(episode.blocks.shape) for episode in found] == [(4, 3, 2), (0, 3, 2)]
        trained_on = encode_module.encode_episodes(model, recording, both, cpu)
        assert [len(episode.latents) for episode in trained_on] == [5, 1]
        data = read_probe_data(recording, both, both, cpu.device)
        assert [len(blocks) for blocks in data.training.blocks] == [4, 0]


def test_a_forecast_is_the_predictors(tiny_model: WorldModel, monkeypatch: pytest.MonkeyPatch, cpu: Compute) -> None:
    monkeypatch.setattr(module, "CLIPS_AT_ONCE", 3)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(7, 5, 8, generator=generator)
    blocks = torch.rand(7, 4, 2, 2, generator=generator)
    nothing = torch.zeros(7, 5, 0)
    found = forecast(tiny_model, latents, blocks, nothing, visible=2, compute=cpu)
    visible = (torch.arange(5) < 2).expand(7, -1)
    expected = tiny_model.predictor(latents, visible, tiny_model.flatten_actions(blocks))[:, 2:]
    assert torch.allclose(found, expected, atol=1e-5)
    hidden = torch.cat([latents[:, :2], torch.randn(7, 3, 8, generator=generator)], dim=1)
    assert torch.allclose(forecast(tiny_model, hidden, blocks, nothing, visible=2, compute=cpu), found)
    with pytest.raises(WorldModelError, match="at most the 5 frames"):
        forecast(tiny_model, latents.repeat(1, 2, 1), blocks, nothing, visible=2, compute=cpu)


def test_an_untrained_model_depends_on_its_seed_alone(tiny_model: WorldModel) -> None:
    state = torch.get_rng_state()
    one, same, other = (untrained(tiny_model, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [model.encoder.project.weight for model in (one, same, other, tiny_model)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_episodes_are_chosen_evenly(recording: Recording) -> None:
    all_ = np.arange(6)
    assert choose_episodes(recording, all_, frames=10**9).tolist() == all_.tolist()
    assert choose_episodes(recording, all_, frames=30).tolist() == [0, 2, 5]
    assert len(choose_episodes(recording, all_, frames=1)) == 1


def test_latents_that_say_nothing_are_refused() -> None:
    with pytest.raises(WorldModelError, match="collapsed"):
        check_alive(torch.full((10, 4), 3.0))
    with pytest.raises(WorldModelError, match="not finite"):
        check_alive(torch.tensor([[1.0, float("nan")], [0.0, 1.0]]))
    check_alive(torch.eye(4) * 1e-3)


@pytest.mark.parametrize("values", [{"visible": 1}, {"length": 3, "visible": 2}, {"clips": 1}, {"seed": -1}])
def test_impossible_settings_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(WorldModelError, match="expected"):
        MeasureConfig(**values)


def test_another_recording_is_refused(
    tiny_model: WorldModel, recording: Recording, trained: Path, cpu: Compute
) -> None:
    with pytest.raises(WorldModelError, match="does not fit the model"):
        measure(CONFIG, model=tiny_model, recording=recording, run=trained, compute=cpu)
