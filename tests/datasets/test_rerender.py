"""Filming a recording again: the same pictures where nothing was changed, and right ones where something was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.manifest import MANIFEST, Manifest
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import RecordConfig, record
from worldmodel.datasets.rerender import RerenderConfig, rerender
from worldmodel.errors import RecordingError, WorldModelError

Hashes = Callable[[Path], dict[str, str]]


def test_unchanged_it_gives_the_same_bytes(reacher: Path, tmp_path: Path, shard_hashes: Hashes) -> None:
    with Recording.open(reacher) as source:
        rerender(RerenderConfig(workers=1), source, tmp_path / "again")
    assert shard_hashes(tmp_path / "again") == shard_hashes(reacher)


@pytest.mark.parametrize("env", ["Pusher-v5", "dm_control/reacher-easy", "dm_control/ball_in_cup-catch"])
def test_other_peoples_worlds_look_as_they_did(env: str, tmp_path: Path) -> None:
    if env.startswith("dm_control"):
        pytest.importorskip("dm_control")
    config = RecordConfig(env=env, episodes=2, episode_frames=4, steps_per_frame=3, height=24, width=24, workers=1)
    record(config, tmp_path / "source")
    with Recording.open(tmp_path / "source") as source:
        rerender(RerenderConfig(workers=1), source, tmp_path / "again")
        with Recording.open(tmp_path / "again") as again:
            for index in range(2):
                assert np.array_equal(source.episode(index).frames, again.episode(index).frames)


def test_at_another_size_it_is_what_recording_at_that_size_gives(
    reacher: Path, reacher_config: RecordConfig, tmp_path: Path
) -> None:
    config = RerenderConfig(height=40, width=56, channels=("rgb", "depth"), workers=2)
    with Recording.open(reacher) as source:
        rerender(config, source, tmp_path / "large")
    record(replace(reacher_config, height=40, width=56, channels=("rgb", "depth")), tmp_path / "expected")
    with Recording.open(tmp_path / "large") as large, Recording.open(tmp_path / "expected") as expected:
        assert large.episodes == expected.episodes
        for index in range(large.episodes):
            for (name, held), (_, wanted) in zip(
                large.episode(index).columns(), expected.episode(index).columns(), strict=True
            ):
                assert np.array_equal(held, wanted), name


@pytest.mark.parametrize(
    "change",
    [{"height": 0}, {"width": -3}, {"height": 7}, {"workers": -1}, {"patience": 0.0}, {"patience": float("nan")}],
)
def test_a_number_out_of_range_is_refused(change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(WorldModelError, match=f"{name} is {change[name]}; expected"):
        RerenderConfig(**change)  # type: ignore[arg-type]


def test_an_unknown_channel_is_refused() -> None:
    with pytest.raises(WorldModelError, match="Unknown channel 'heat'"):
        RerenderConfig(channels=("rgb", "heat"))  # type: ignore[arg-type]


def test_another_model_is_refused(reacher: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(reacher)
    assert manifest.provenance.simulation is not None
    for simulation, message in (
        (None, "no scene"),
        (replace(manifest.provenance.simulation, model_sha256="0"), "hash"),
    ):
        changed = replace(manifest, provenance=replace(manifest.provenance, simulation=simulation))
        folder = tmp_path / message.replace(" ", "-")
        folder.mkdir()
        (folder / MANIFEST).write_text(changed.to_json())
        for entry in manifest.shards:
            (folder / entry.file).write_bytes((reacher / entry.file).read_bytes())
        with Recording.open(folder) as source, pytest.raises(RecordingError, match=message):
            rerender(RerenderConfig(), source, tmp_path / "out")
