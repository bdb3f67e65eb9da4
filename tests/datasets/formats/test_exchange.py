"""What every format owes: a recording comes back from it as it was."""

from __future__ import annotations

import errno
import importlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from worldmodel.datasets.formats import registry, source
from worldmodel.datasets.formats.exchange import export_recording, import_recording
from worldmodel.datasets.formats.registry import FORMATS
from worldmodel.datasets.formats.source import SourceConfig
from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError

Record = Callable[..., Recording]
AssertEqual = Callable[[Recording, Recording], None]

NAMES = {
    "minari": "there-v0",
    "lerobot": "there",
    "robomimic": "there.hdf5",
    "stable-worldmodel": "there.h5",
    "video": "there",
}
NEEDED = {"minari": ("minari",), "lerobot": ("av", "pyarrow"), "video": ("av",)}
DATASETS = [name for name in FORMATS if name != "video"]
PICTURES_ALONE = ["lerobot"]  # no place for depth and segmentation


@pytest.fixture(autouse=True)
def need_packages(request: pytest.FixtureRequest) -> None:
    """Skip where the packages of a test's format are missing."""
    parameters = getattr(request.node, "callspec", None)
    need(parameters.params.get("format", "") if parameters else "")


def need(format: str) -> None:
    for package in NEEDED.get(format, ()):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'worldmodel[{format}]'")


def there_and_back(recording: Recording, format: str, folder: Path) -> Recording:
    """Export a recording and import that, letting the importer find out what it is."""
    out = folder / NAMES[format]
    export_recording(recording, out, format=format)
    assert not out.with_name(out.name + ".partial").exists()
    sources = [str(out / "*.mp4")] if format == "video" else [str(out)]
    import_recording(sources, folder / "back")
    return Recording.open(folder / "back")


@pytest.mark.parametrize("format", DATASETS)
def test_a_recording_comes_back_as_it_was(
    record: Record, assert_equal: AssertEqual, tmp_path: Path, format: str
) -> None:
    recording = record()
    assert_equal(there_and_back(recording, format, tmp_path), recording)


@pytest.mark.parametrize("format", [name for name in DATASETS if name != "robomimic"])
def test_an_episode_of_one_frame_comes_back(
    record: Record, assert_equal: AssertEqual, tmp_path: Path, format: str
) -> None:
    recording = record((0, 3, 0))
    assert_equal(there_and_back(recording, format, tmp_path), recording)


@pytest.mark.parametrize("format", DATASETS)
def test_video_without_actions_comes_back(
    record: Record, assert_equal: AssertEqual, tmp_path: Path, format: str
) -> None:
    recording = record((5, 70), low=(), high=(), steps_per_frame=1, simulation=None)
    assert_equal(there_and_back(recording, format, tmp_path), recording)


@pytest.mark.parametrize("format", [name for name in DATASETS if name not in PICTURES_ALONE])
def test_depth_and_segmentation_come_back(
    record: Record, assert_equal: AssertEqual, tmp_path: Path, format: str
) -> None:
    recording = record((9, 4), channels=("rgb", "depth", "segmentation"))
    assert_equal(there_and_back(recording, format, tmp_path), recording)


@pytest.mark.parametrize("format", PICTURES_ALONE)
def test_channels_that_a_format_has_no_place_for_are_refused(record: Record, tmp_path: Path, format: str) -> None:
    recording = record((3,), channels=("rgb", "depth"))
    with pytest.raises(WorldModelError, match=r"channels \['rgb', 'depth'\].*worldmodel rerender"):
        export_recording(recording, tmp_path / "there", format=format)
    assert not (tmp_path / "there").exists()


def test_robomimic_has_no_place_for_an_episode_of_one_frame(record: Record, tmp_path: Path) -> None:
    with pytest.raises(WorldModelError, match="Episode 1 has one frame; robomimic holds transitions"):
        export_recording(record((3, 0)), tmp_path / "a.hdf5", format="robomimic")


def test_frames_come_back_from_videos_as_they_were(record: Record, tmp_path: Path) -> None:
    need("video")
    recording = record()
    back = there_and_back(recording, "video", tmp_path)
    assert back.provenance.control_seconds == pytest.approx(0.06)
    assert back.provenance.low == ()
    assert back.episodes == recording.episodes
    assert back.frames == recording.frames
    # videos are brought to 64 x 64 when nothing else is asked for
    assert back.provenance.height == back.provenance.width == 64
    import_recording([str(tmp_path / "there/*.mp4")], tmp_path / "same", config=SourceConfig(16, 16))
    same = Recording.open(tmp_path / "same")
    for index in range(recording.episodes):
        np.testing.assert_array_equal(same.episode(index).frames, recording.episode(index).frames)


@pytest.mark.parametrize("format", ["lerobot", "video"])
def test_lossy_videos_are_near(record: Record, tmp_path: Path, format: str) -> None:
    recording = record((30,))
    out = tmp_path / "there"
    export_recording(recording, out, format=format, lossy=True)
    sources = [str(path) for path in out.glob("*.mp4")] or [str(out)]
    import_recording(sources, tmp_path / "back", config=SourceConfig(16, 16) if format == "video" else None)
    held, seen = recording.episode(0).frames, Recording.open(tmp_path / "back").episode(0).frames
    error = np.abs(held.astype(int) - seen)
    assert 0 < error.mean() < 8


def test_one_camera_alone(record: Record, tmp_path: Path) -> None:
    recording = record((4, 5))
    export_recording(recording, tmp_path / "a.h5", format="stable-worldmodel", camera="wrist/left")
    import_recording([str(tmp_path / "a.h5")], tmp_path / "back")
    back = Recording.open(tmp_path / "back")
    assert [camera.name for camera in back.provenance.cameras] == ["wrist/left"]
    for index in range(2):
        expected = recording.episode(index).pictures["frames/wrist:left"]
        np.testing.assert_array_equal(back.episode(index).frames, expected)
    with pytest.raises(WorldModelError, match=r"Unknown camera 'nose'.*top, wrist/left"):
        export_recording(recording, tmp_path / "b.h5", format="stable-worldmodel", camera="nose")


def test_what_exists_is_not_written_over(record: Record, tmp_path: Path) -> None:
    recording = record((3,))
    (tmp_path / "a.h5").write_text("dear")
    with pytest.raises(WorldModelError, match="exists already"):
        export_recording(recording, tmp_path / "a.h5", format="stable-worldmodel")
    assert (tmp_path / "a.h5").read_text() == "dear"
    (tmp_path / "b.h5.partial").write_text("dear")
    with pytest.raises(WorldModelError, match=r"b\.h5\.partial' is left from an export that was killed"):
        export_recording(recording, tmp_path / "b.h5", format="stable-worldmodel")


@pytest.mark.parametrize("out", [".", "..", "/", "nothing/.."])
def test_a_folder_without_a_name_of_its_own_exists_already(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    recording = record((3,))
    before = set(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorldModelError, match="exists already"):
        export_recording(recording, Path(out), format="stable-worldmodel")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_is_stopped_leaves_nothing(record: Record, tmp_path: Path, format: str) -> None:
    recording = record((3, 300))

    def stop(done: int, total: int) -> None:
        if done > 20:
            raise KeyboardInterrupt

    before = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        export_recording(recording, tmp_path / NAMES[format], format=format, progress=stop)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_whose_disk_fails_says_so_and_leaves_nothing(record: Record, tmp_path: Path, format: str) -> None:
    recording = record((3, 300))

    def fail(done: int, total: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = set(tmp_path.iterdir())
    with pytest.raises(WorldModelError, match=r"No space left.*Nothing is left of the export"):
        export_recording(recording, tmp_path / NAMES[format], format=format, progress=fail)
    assert set(tmp_path.iterdir()) == before


def test_an_import_that_is_stopped_goes_on(record: Record, assert_equal: AssertEqual, tmp_path: Path) -> None:
    recording = record()
    export_recording(recording, tmp_path / "a.h5", format="stable-worldmodel")

    def stop(done: int, total: int) -> None:
        if done > 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_recording([str(tmp_path / "a.h5")], tmp_path / "back", progress=stop)
    assert Recording.open(tmp_path / "back").episodes == 1
    with pytest.raises(WorldModelError, match="--resume"):
        import_recording([str(tmp_path / "a.h5")], tmp_path / "back")
    told: list[tuple[int, int]] = []
    import_recording(
        [str(tmp_path / "a.h5")], tmp_path / "back", resume=True, progress=lambda *counts: told.append(counts)
    )
    assert told[-1] == (recording.frames, recording.frames)
    assert_equal(Recording.open(tmp_path / "back"), recording)


@pytest.mark.parametrize("format", DATASETS)
def test_an_import_does_not_go_on_with_other_files_of_that_name(record: Record, tmp_path: Path, format: str) -> None:
    def stop(done: int, total: int) -> None:
        if done > 60:
            raise KeyboardInterrupt

    sources = []
    for name, steps in (("one", (12, 220, 6)), ("other", (12, 220, 60))):
        recording = record(steps, folder=name, steps_per_frame=1)
        sources.append(tmp_path / f"from-{name}" / NAMES[format])
        export_recording(recording, sources[-1], format=format)
        forget(sources[-1], format)
    one, other = sources
    with pytest.raises(KeyboardInterrupt):
        import_recording([str(one)], tmp_path / "back", progress=stop)
    told = r"its env_arguments is '{\"files\": \d+, \"bytes\": .*this recording's would be.*the same files"
    with pytest.raises(WorldModelError, match=told):
        import_recording([str(other)], tmp_path / "back", resume=True)
    shutil.move(one, tmp_path / NAMES[format])  # they may lie elsewhere by now
    import_recording([str(tmp_path / NAMES[format])], tmp_path / "back", resume=True)
    back = Recording.open(tmp_path / "back")
    assert np.diff(back.frame_start).tolist() == [13, 221, 7]
    assert str(tmp_path) not in back.provenance.env_arguments
    with pytest.raises(WorldModelError, match=told):
        import_recording([str(other)], tmp_path / "back", resume=True)


def forget(path: Path, format: str) -> None:
    """Take out of an export that it is ours."""
    if format == "lerobot":
        (path / "meta/worldmodel.json").unlink()
    elif format == "minari":
        metadata = json.loads((path / "data/metadata.json").read_text())
        del metadata["worldmodel"]
        (path / "data/metadata.json").write_text(json.dumps(metadata))
    else:
        with h5py.File(path, "a") as file:
            del (file["data"] if format == "robomimic" else file).attrs["worldmodel"]


def test_a_recording_of_ours_is_restored_as_it_was(record: Record, tmp_path: Path) -> None:
    export_recording(record((3,)), tmp_path / "a.h5", format="stable-worldmodel")
    with pytest.raises(WorldModelError, match="leave out --height, --width and --fps"):
        import_recording([str(tmp_path / "a.h5")], tmp_path / "back", config=SourceConfig(32, 32))


def test_unknown_format_lists_those_there_are() -> None:
    with pytest.raises(WorldModelError, match=r"Unknown format 'lerobt'. Did you mean 'lerobot'\?.*minari.*robomimic"):
        registry.find_format("lerobt")


@pytest.mark.parametrize(
    ("package", "format", "extra"),
    [("minari", "minari", "minari"), ("av", "lerobot", "lerobot"), ("av", "video", "video")],
)
def test_a_missing_package_is_named_with_what_installs_it(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, format: str, extra: str
) -> None:
    def import_module(name: str) -> object:
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named '{package}'")
        return importlib.__import__(name, fromlist=["x"])

    monkeypatch.setattr(source.importlib, "import_module", import_module)
    with pytest.raises(WorldModelError, match=rf"'{package}' cannot be imported.*pip install 'worldmodel\[{extra}\]'"):
        export_recording(record((3,)), tmp_path / "there-v0", format=format)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{here}/nothing.mp4", "does not exist"),
        ("{here}/nothing.h5", "does not exist"),
        ("{here}/folder", r"not clear which format.*--format video\|minari"),
        ("{here}/*.nothing", "No file is called like"),
        ("{recording}", "a recording already"),
    ],
)
def test_a_source_that_is_not_clear_is_refused(tmp_path: Path, by_hand: Path, source: str, told: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(WorldModelError, match=told):
        import_recording([source.format(here=tmp_path, recording=by_hand)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_id_that_minari_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with pytest.raises(WorldModelError, match=r"no Minari dataset 'a/nobodys-v0'.*minari download a/nobodys-v0"):
        import_recording(["a/nobodys-v0"], tmp_path / "out")


def test_only_videos_can_be_put_together(tmp_path: Path) -> None:
    with pytest.raises(WorldModelError, match="There are 2 sources; expected one"):
        import_recording(["a-v0", "b-v0"], tmp_path / "out")


@pytest.mark.parametrize("format", DATASETS)
@pytest.mark.parametrize("damage", ["cut", "another"])
def test_a_broken_source_is_one_clear_error(record: Record, tmp_path: Path, format: str, damage: str) -> None:
    out = tmp_path / NAMES[format]
    export_recording(record((30, 6)), out, format=format)
    files = [path for path in out.rglob("*") if path.suffix in (".hdf5", ".parquet", ".mp4")] or [out]
    for file in files:
        raw = file.read_bytes()
        file.write_bytes(raw[: len(raw) // 2] if damage == "cut" else b"Dear all,\n" * 100)
    with pytest.raises(WorldModelError, match=NAMES[format]):
        import_recording([str(out)], tmp_path / "back", format=format)
