"""The manifest: what is written is read back, and anything else is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldmodel.datasets.schema import MANIFEST, Episode, Manifest, Provenance, ShardEntry
from worldmodel.errors import RecordingError


@pytest.fixture
def manifest(provenance: Provenance) -> Manifest:
    return Manifest(provenance, (ShardEntry("shard-00000.h5", "ab", 2, 9, 21),), 1.5)


def test_a_manifest_is_read_back_as_it_was_written(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(manifest.to_json())
    assert Manifest.read(tmp_path) == manifest


def test_a_folder_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"holds none.*worldmodel record"):
        Manifest.read(tmp_path)
    with pytest.raises(RecordingError, match=r"does not exist"):
        Manifest.read(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match=r"is a file"):
        Manifest.read(tmp_path / "file")


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[" * 100_000, b"\xff\xfe\x00"])
def test_what_is_not_json_is_refused(text: str | bytes, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecordingError, match="not JSON"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '{"format": "lerobot"}'])
def test_what_is_foreign_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(RecordingError, match="not a worldmodel-recording"):
        Manifest.read(tmp_path)


def test_another_version_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    raw = json.loads(manifest.to_json()) | {"version": 99}
    (tmp_path / MANIFEST).write_text(json.dumps(raw))
    with pytest.raises(RecordingError, match=r"version 99.*reads version 1"):
        Manifest.read(tmp_path)


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    *parents, last = path.split(".")

    def apply(raw: Any) -> None:
        for name in parents:
            raw = raw[int(name)] if name.isdigit() else raw[name]
        raw[last] = value

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw.pop("shards"),
        lambda raw: raw["provenance"].pop("height"),
        lambda raw: raw["shards"][0].pop("sha256"),
        change("provenance.surprise", 1),
        change("provenance.height", "64"),
        change("provenance.height", 0),
        change("provenance.steps_per_frame", 0),
        change("provenance.low", None),
        change("provenance.low", ["x"]),
        change("provenance", None),
        change("shards", 5),
        change("shards", {"a": 1}),
        change("shards.0.frames", "9"),
        change("shards.0.frames", True),
        change("shards.0.file", "../elsewhere.h5"),
        change("shards.0.file", "/etc/passwd"),
        change("seconds", "soon"),
    ],
)
def test_a_damaged_field_is_refused(
    damage: Callable[[dict[str, Any]], Any], manifest: Manifest, tmp_path: Path
) -> None:
    raw = json.loads(manifest.to_json())
    damage(raw)
    (tmp_path / MANIFEST).write_text(json.dumps(raw))
    with pytest.raises(RecordingError, match="damaged"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("column", ["frame_step", "qpos", "qvel", "act", "time", "reward"])
def test_an_episode_whose_columns_do_not_fit_is_refused(column: str, make_episode: Callable[[int], Episode]) -> None:
    episode = make_episode(0)
    with pytest.raises(RecordingError, match="Episode 0"):
        replace(episode, **{column: getattr(episode, column)[:-1]})


@pytest.mark.parametrize("column", ["qpos", "qvel", "time", "actions", "reward"])
def test_an_episode_with_a_number_that_is_none_is_refused(column: str, make_episode: Callable[[int], Episode]) -> None:
    episode = make_episode(0)
    broken = getattr(episode, column).copy()
    broken[-1] = np.nan
    with pytest.raises(RecordingError, match=f"'{column}'.*diverged"):
        replace(episode, **{column: broken})
