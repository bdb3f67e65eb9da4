"""The manifest: what is written is read back, and anything else is refused."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import pytest

from worldmodel.datasets.manifest import (
    MANIFEST,
    Camera,
    Manifest,
    Provenance,
    ShardEntry,
    Software,
    command_line,
    sha256_of,
)
from worldmodel.errors import RecordingError


@pytest.fixture
def manifest(provenance: Provenance) -> Manifest:
    return replace(Manifest.new(provenance), shards=(ShardEntry("shard-00000.h5", "ab", 2, 9, 21),), seconds=1.5)


def test_a_manifest_is_read_back_as_it_was_written(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(manifest.to_json())
    assert Manifest.read(tmp_path) == manifest


def test_a_manifest_of_plain_video_with_many_cameras_is_read_back(provenance: Provenance, tmp_path: Path) -> None:
    eye = Camera("eye", (0.1, 1.0, -2.5), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0), 45.0)
    plain = replace(
        provenance,
        cameras=(Camera(""), eye, Camera("robot/wrist")),
        channels=("rgb", "depth", "segmentation"),
        low=(),
        high=(),
        policy="",
        episode_frames=0,
        simulation=None,
        compression="gzip",
    )
    (tmp_path / MANIFEST).write_text(Manifest.new(plain).to_json())
    assert Manifest.read(tmp_path) == Manifest.new(plain)


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


@pytest.mark.parametrize("version", [1, 99, "2", None])
def test_another_version_is_refused(version: object, manifest: Manifest, tmp_path: Path) -> None:
    raw = json.loads(manifest.to_json()) | {"version": version}
    (tmp_path / MANIFEST).write_text(json.dumps(raw))
    with pytest.raises(RecordingError, match=rf"version {version!r}.*reads version 2"):
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
        lambda raw: raw["provenance"]["simulation"].pop("timestep"),
        lambda raw: raw["shards"][0].pop("sha256"),
        change("provenance.surprise", 1),
        change("provenance.height", "64"),
        change("provenance.height", 0),
        change("provenance.width", -1),
        change("provenance.seed", -1),
        change("provenance.steps_per_frame", 0),
        change("provenance.control_seconds", 0),
        change("provenance.control_seconds", math.inf),
        change("provenance.control_seconds", math.nan),
        change("provenance.low", None),
        change("provenance.low", ["x"]),
        change("provenance.low", [math.nan, 0.0]),
        change("provenance.low", [0.0]),
        change("provenance.cameras", []),
        change("provenance.cameras", ["top"]),
        change("provenance.cameras.0.position", "here"),
        change("provenance.channels", []),
        change("provenance.channels", ["depth"]),
        change("provenance.channels", ["rgb", "smell"]),
        change("provenance.channels", ["rgb", "rgb"]),
        change("provenance.compression", "zip"),
        change("provenance.simulation", "mujoco"),
        change("provenance.simulation.quality", "good"),
        change("provenance.software", None),
        change("provenance", None),
        change("shards", 5),
        change("shards", {"a": 1}),
        change("shards.0.frames", "9"),
        change("shards.0.frames", True),
        change("shards.0.frames", 0),
        change("shards.0.episodes", 0),
        change("shards.0.actions", -1),
        change("shards.0.file", "../elsewhere.h5"),
        change("shards.0.file", "/etc/passwd"),
        change("shards.0.file", ""),
        change("shards.0.file", ".."),
        change("seconds", "soon"),
        change("seconds", math.nan),
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


@pytest.mark.parametrize("names", [("top", "top"), ("", "free"), ("a/b", "a:b")])
def test_cameras_whose_columns_would_clash_are_refused(names: tuple[str, str], provenance: Provenance) -> None:
    with pytest.raises(RecordingError, match="not distinct"):
        replace(provenance, cameras=tuple(map(Camera, names)))


def test_pictures_have_the_shapes_of_their_channels(provenance: Provenance) -> None:
    both = replace(
        provenance,
        cameras=(Camera("top"), Camera("")),
        channels=("rgb", "depth", "segmentation"),
        height=4,
        width=6,
    )
    assert both.camera == "top"
    assert both.picture_shapes == {
        "frames/top": (4, 6, 3),
        "frames/free": (4, 6, 3),
        "depth/top": (4, 6),
        "depth/free": (4, 6),
        "segmentation/top": (4, 6, 2),
        "segmentation/free": (4, 6, 2),
    }
    assert both.picture_bytes == 2 * 4 * 6 * (3 + 4 + 8)


def test_software_is_that_of_this_process() -> None:
    here = Software.here()
    assert here.mujoco == mujoco.__version__
    assert here.gymnasium == gymnasium.__version__
    assert here.python == sys.version.split()[0]
    assert here.worldmodel_commit == "" or len(here.worldmodel_commit) == 40


def test_the_command_is_told_without_the_program_s_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/some/where/worldmodel", "record", "--out", "a b"])
    assert command_line().startswith("worldmodel record --out")


def test_the_hash_of_a_file_is_sha_256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4's example
    assert sha256_of(tmp_path / "abc") == expected
