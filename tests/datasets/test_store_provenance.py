"""A recording is continued by the same settings, or not at all; what does not change it may differ."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from worldmodel.datasets.manifest import Camera, Manifest, Provenance, Simulation, Software
from worldmodel.datasets.store import MAY_DIFFER, RecordingStore
from worldmodel.errors import RecordingError

OTHER: dict[str, Any] = {
    "env": "other",
    "env_arguments": '{"x": 1}',
    "cameras": (Camera("top", (1.0, 2.0, 3.0)),),
    "channels": ("rgb", "depth"),
    "height": 9,
    "width": 9,
    "steps_per_frame": 4,
    "control_seconds": 0.03,
    "episode_frames": 7,
    "low": (-2.0, -2.0),
    "high": (2.0, 2.0),
    "policy": "zero",
    "seed": 8,
    "compression": "gzip",
    "command": "another",
    "simulation.mjcf": "<mujoco model='b'/>",
    "simulation.model_sha256": "1",
    "simulation.timestep": 0.02,
    "simulation.quality": "faithful",
    "simulation.gl_renderer": "another",
    "software.worldmodel": "9",
    "software.worldmodel_commit": "9",
    "software.mujoco": "9",
    "software.gymnasium": "9",
    "software.python": "9",
}


def changed(provenance: Provenance, name: str) -> Provenance:
    part, dot, field = name.partition(".")
    inner = replace(getattr(provenance, part), **{field: OTHER[name]}) if dot else OTHER[name]
    return replace(provenance, **{part: inner})


def test_every_field_of_the_provenance_is_tried_below() -> None:
    nested = {"simulation": Simulation, "software": Software}
    names = [field.name for field in fields(Provenance) if field.name not in nested]
    names += [f"{part}.{field.name}" for part, kind in nested.items() for field in fields(kind)]
    assert sorted(names) == sorted(OTHER)
    assert set(OTHER) >= MAY_DIFFER


@pytest.mark.parametrize("name", sorted(OTHER.keys() - MAY_DIFFER))
def test_another_setting_is_refused_by_name(name: str, tmp_path: Path, provenance: Provenance) -> None:
    RecordingStore(tmp_path, provenance, resume=False).close()
    with pytest.raises(RecordingError, match=rf"its {name} is .* would be "):
        RecordingStore(tmp_path, changed(provenance, name), resume=True)


@pytest.mark.parametrize("name", sorted(MAY_DIFFER))
def test_what_does_not_change_the_recording_may_differ(name: str, tmp_path: Path, provenance: Provenance) -> None:
    RecordingStore(tmp_path, provenance, resume=False).close()
    RecordingStore(tmp_path, changed(provenance, name), resume=True).close()
    assert Manifest.read(tmp_path).provenance == provenance


def test_a_recording_of_plain_video_is_not_continued_by_a_simulation(tmp_path: Path, provenance: Provenance) -> None:
    RecordingStore(tmp_path, replace(provenance, simulation=None), resume=False).close()
    with pytest.raises(RecordingError, match="its simulation"):
        RecordingStore(tmp_path, provenance, resume=True)
