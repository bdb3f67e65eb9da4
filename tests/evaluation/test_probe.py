"""Physical states are read from a run's latents, and controls are held to the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Episode
from worldmodel.datasets.store import RecordingStore
from worldmodel.errors import RecordingError, WorldModelError
from worldmodel.evaluation import probe as module
from worldmodel.evaluation.probe import ProbeConfig, probe
from worldmodel.evaluation.probes.data import read_probe_data
from worldmodel.evaluation.probes.labels import label_rows
from worldmodel.evaluation.probes.mlp import MLPProbeConfig, new_mlp
from worldmodel.evaluation.probes.readings import score
from worldmodel.evaluation.probes.report import ProbeReport
from worldmodel.evaluation.probes.tuning import TuneConfig, TunedReader, read_tuned, tune
from worldmodel.models.world_model import WorldModel
from worldmodel.training.checkpoint import load_model
from worldmodel.training.device import Compute

CONFIG = ProbeConfig(
    labels=("100%", "40%"),
    seeds=2,
    visible=2,
    mlp=MLPProbeConfig(width=8, steps=4, batch=8, checks=2),
    tune=TuneConfig(seeds=1, steps=2, batch=4, scratch_steps=3),
)


@pytest.fixture
def recording(reacher: Path) -> Iterator[Recording]:
    with Recording.open(reacher) as recording:
        yield recording


def test_every_way_of_reading(trained: Path, recording: Recording, cpu: Compute, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    model = load_model(trained)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report, same = (
        probe(
            CONFIG,
            model=model,
            recording=recording,
            run=trained,
            compute=cpu,
            progress=lambda done, total, what: told.append((done, total)),
        )
        for _ in range(2)
    )
    assert replace(report, seconds=0.0) == replace(same, seconds=0.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert told == [(i, told[0][1]) for i in range(told[0][1])] * 2
    ways = {(r.source, r.method, r.features, r.labels) for r in report.results}
    frozen = [
        (source, method, features, share)
        for source in ("world model", "random encoder", "PCA of pixels")
        for method in ("ridge", "MLP")
        for features in ("z_t", "z_t-1, z_t")
        for share in (0.4, 1.0)
    ]
    trained_ = [
        (source, method, "z_t-1, z_t", share)
        for source, method in (("world model", "fine-tuned"), ("random encoder", "from scratch"))
        for share in (0.4, 1.0)
    ]
    assert ways == {*frozen, *trained_}
    assert len(report.results) == len(ways)
    assert {(r.labels, r.episodes) for r in report.results} == {(0.4, 2), (1.0, 5)}
    for result in report.results:
        assert len(result.readings.r2) == len(result.readings.rmse) == len(report.dimensions) == 6
        assert len(result.readings.angle_rmse) == len(report.angles) == 2
        assert result.readings.seeds == (1 if result.method in ("fine-tuned", "from scratch") else 2)
    assert {(r.method, r.features, r.ahead) for r in report.rollouts} == {
        (method, features, ahead)
        for method in ("ridge", "MLP")
        for features in ("z_t", "z_t-1, z_t")
        for ahead in (1, 2, 3)
    }
    report.write(tmp_path / "report.json")
    assert ProbeReport.read(tmp_path / "report.json") == report
    with pytest.raises(WorldModelError, match="worldmodel probe"):
        ProbeReport.read(tmp_path / "nothing.json")


def test_without_controls_and_tuning_there_are_none(trained: Path, recording: Recording, cpu: Compute) -> None:
    config = replace(CONFIG, controls=False, tune=TuneConfig(seeds=0))
    report = probe(config, model=load_model(trained), recording=recording, run=trained, compute=cpu)
    assert {(r.source, r.method) for r in report.results} == {("world model", "ridge"), ("world model", "MLP")}


def test_frames_and_states_belong_together(recording: Recording) -> None:
    data = read_probe_data(recording, np.array([0, 3]), np.array([4]), torch.device("cpu"))
    assert data.training.first.tolist() == [0, 10, 20]
    episode = recording.episode(3)
    assert np.array_equal(data.training.frames[10:], episode.frames)
    sine = [dimension.name for dimension in data.dimensions].index("elbow sin")
    np.testing.assert_allclose(data.training.states[10:, sine], np.sin(episode.qpos[:, 1]), rtol=1e-5)
    assert np.array_equal(data.training.blocks[1][4].numpy(), episode.actions[8:10])
    assert data.held_out.rows.tolist() == list(range(1, 10))


def test_an_encoder_learns_to_read(tiny_model: WorldModel, recording: Recording, cpu: Compute) -> None:
    """What is kept reads the validation rows better than what it began with; the model itself stays as it was."""
    data = read_probe_data(recording, np.arange(5), np.array([5]), cpu.device).training
    rows = label_rows(data.first, 1.0, seed=0)
    latents = tiny_model.encode(torch.from_numpy(data.frames)).detach()
    pairs = torch.cat([latents.roll(1, 0), latents], dim=1)
    head = new_mlp(16, pairs, data.states, rows, torch.Generator().manual_seed(0))
    before = next(tiny_model.encoder.parameters()).clone()

    def error(config: TuneConfig) -> float:
        reader = tune(
            config,
            model=tiny_model,
            head=head,
            frames=data.frames,
            states=data.states,
            rows=rows,
            compute=cpu,
            seed=0,
        )
        read = read_tuned(reader, data.frames, rows.validation, cpu)
        return float(((read - data.states[rows.validation]) / head.targets.std).square().mean())

    begun = error(TuneConfig(steps=1, learning_rate=1e-12))
    assert error(TuneConfig(steps=60, learning_rate=3e-3)) < 0.8 * begun
    assert error(TuneConfig(steps=10, learning_rate=100.0)) <= begun + 1e-6
    assert torch.equal(before, next(tiny_model.encoder.parameters()))


def test_who_begins_with_nothing_learns_for_longer(
    trained: Path, recording: Recording, cpu: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, float]] = []

    def tune_and_tell(config: TuneConfig, *, model: WorldModel, **rest: Any) -> TunedReader:
        told.append((config.steps, config.learning_rate))
        return tune(config, model=model, **rest)

    monkeypatch.setattr(module, "tune", tune_and_tell)
    config = replace(CONFIG, labels=("100%",), controls=False, tune=replace(CONFIG.tune, scratch_rate=0.5))
    probe(config, model=load_model(trained), recording=recording, run=trained, compute=cpu)
    assert told == [(2, 3e-4), (3, 0.5)]


def test_what_rests_in_the_held_out_episodes_is_not_read(
    provenance: Provenance, make_episode: Callable[[int], Episode], cpu: Compute, tmp_path: Path
) -> None:
    """R² compares errors to how much is going on: of next to nothing, it would be next to minus infinity."""
    moving, still = make_episode(0), make_episode(0)
    still.qpos[:, 1] = 0.5
    still.qvel[:, 0] *= 1e-4
    resting = replace(still, qpos=still.qpos[:1].repeat(5, 0), qvel=still.qvel[:1].repeat(5, 0))
    with RecordingStore(tmp_path, replace(provenance, simulation=None), resume=False) as store:
        for index, episode in enumerate((moving, moving, still, resting)):
            store.add(replace(episode, index=index))
        store.finish(seconds=1.0)
    with Recording.open(tmp_path) as recording:
        data = read_probe_data(recording, np.arange(2), np.array([2]), cpu.device)
        with pytest.raises(RecordingError, match="Nothing moves in the 1 held-out episodes"):
            read_probe_data(recording, np.arange(2), np.array([3]), cpu.device)
    assert [dimension.name for dimension in data.dimensions] == ["qpos 0", "qvel 1"]
    assert data.still == ("qpos 1", "qvel 0")
    assert np.allclose(data.training.states[:5], np.stack([moving.qpos[:, 0], moving.qvel[:, 1]], axis=1))
    asked = data.held_out.states[data.held_out.rows]
    for target in (asked, asked[:1]):
        readings = score([target + asked.std(0, correction=0)], target, data.dimensions, asked)
        assert [spread.mean for spread in readings.r2] == pytest.approx([0, 0], abs=1e-5)


def test_too_few_labels_are_refused_before_any_work(trained: Path, recording: Recording, cpu: Compute) -> None:
    told: list[int] = []
    with pytest.raises(RecordingError, match=r"0.1 of 5 training episodes are 0 labelled"):
        probe(
            replace(CONFIG, labels=("10%",)),
            model=load_model(trained),
            recording=recording,
            run=trained,
            compute=cpu,
            progress=lambda done, total, what: told.append(done),
        )
    assert not told


def test_another_recording_is_refused(
    tiny_model: WorldModel, recording: Recording, trained: Path, cpu: Compute
) -> None:
    with pytest.raises(WorldModelError, match="does not fit the model"):
        probe(CONFIG, model=tiny_model, recording=recording, run=trained, compute=cpu)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(WorldModelError, match=r"tune\.seeds is 2 and seeds 1"):
        ProbeConfig(seeds=1, tune=TuneConfig(seeds=2))
    assert ProbeConfig(seeds=1).tunings == 1
    with pytest.raises(WorldModelError, match=r"tune\.seeds is -1"):
        TuneConfig(seeds=-1)
    with pytest.raises(WorldModelError, match="labels are empty"):
        ProbeConfig(labels=())
    with pytest.raises(WorldModelError, match="'ten'"):
        ProbeConfig(labels=("ten",))
    with pytest.raises(WorldModelError, match="visible is 1"):
        ProbeConfig(visible=1)
