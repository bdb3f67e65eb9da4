"""robomimic's and stable-worldmodel's HDF5: what these packages read of ours, and what comes of theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from worldmodel.datasets.formats.exchange import export_recording, import_recording
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Ending
from worldmodel.errors import WorldModelError

Record = Callable[..., Recording]
Ask = Callable[[str, str, Path], dict[str, NDArray[Any]]]


def test_robomimic_reads_what_we_write(record: Record, ask: Ask, tmp_path: Path) -> None:
    recording = record((12, 70), steps_per_frame=1)
    export_recording(recording, tmp_path / "a.hdf5", format="robomimic")
    held = ask("robomimic", "read", tmp_path / "a.hdf5")
    assert int(held["length"]) == 12 + 70
    for index in range(2):
        episode = recording.episode(index)
        for key, rows in (("top_image", episode.frames), ("wrist:left_image", episode.pictures["frames/wrist:left"])):
            np.testing.assert_array_equal(held[f"{index}/obs/{key}"], rows[:-1])
            np.testing.assert_array_equal(held[f"{index}/next_obs/{key}"], rows[1:])
        np.testing.assert_array_equal(held[f"{index}/obs/qpos"], episode.qpos[:-1])
        np.testing.assert_array_equal(held[f"{index}/actions"], episode.actions)
        np.testing.assert_allclose(held[f"{index}/rewards"], episode.reward, rtol=1e-6)
        assert held[f"{index}/dones"].tolist() == [0] * (len(episode) - 2) + [1]


def test_stable_worldmodel_reads_what_we_write(record: Record, ask: Ask, tmp_path: Path) -> None:
    recording = record((12, 210))
    export_recording(recording, tmp_path / "a.h5", format="stable-worldmodel")
    held = ask("stable_worldmodel", "read", tmp_path / "a.h5")
    for index in range(2):
        episode = recording.episode(index)
        assert int(held[f"{index}/length"]) == len(episode)
        np.testing.assert_array_equal(held[f"{index}/pixels"].transpose(0, 2, 3, 1), episode.frames)
        np.testing.assert_array_equal(held[f"{index}/qpos"], episode.qpos)
        np.testing.assert_array_equal(held[f"{index}/action"][:-1].reshape(-1, 2), episode.actions)
        assert np.isnan(held[f"{index}/action"][-1]).all()
    np.testing.assert_array_equal(held["clip/action"].reshape(-1, 2), recording.episode(0).actions[:12])


def test_a_file_of_stable_worldmodel(ask: Ask, tmp_path: Path) -> None:
    written = ask("stable_worldmodel", "write", tmp_path / "theirs.h5")
    imported = import_recording([str(tmp_path / "theirs.h5")], tmp_path / "out")
    assert "20 frames per second assumed" in imported.notes[0]
    recording = Recording.open(tmp_path / "out")
    told = recording.provenance
    assert (told.env, told.simulation, told.control_seconds) == ("stable-worldmodel:theirs", None, 0.05)
    actions = np.concatenate([written[f"{index}/action"][:-1] for index in range(2)])
    np.testing.assert_allclose(told.low, actions.min(axis=0))
    for index in range(2):
        episode = recording.episode(index)
        np.testing.assert_array_equal(episode.frames, written[f"{index}/pixels"])
        np.testing.assert_array_equal(episode.actions, written[f"{index}/action"][:-1])
        np.testing.assert_array_equal(episode.qpos, written[f"{index}/qpos"])


@pytest.fixture
def columns(tmp_path: Path) -> Path:
    """A file in stable-worldmodel's format that was written by hand: two episodes of 5 and 4 frames."""
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["pixels"] = rng.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
        file["action"] = np.stack([np.arange(9.0), np.full(9, 0.5)], axis=1)
        file["ep_len"], file["ep_offset"] = np.array([5, 4], np.int32), np.array([0, 5])
        file["terminated"] = np.arange(9) == 4
    return tmp_path / "a.h5"


def test_bounds_leave_room_where_an_actuator_never_moves(columns: Path, tmp_path: Path) -> None:
    import_recording([str(columns)], tmp_path / "out")
    recording = Recording.open(tmp_path / "out")
    assert recording.provenance.low == (0.0, -0.5)
    assert recording.provenance.high == (7.0, 1.5)  # the last action, 8, led to no frame
    assert [recording.episode(index).ending for index in range(2)] == [Ending.TERMINATED, Ending.LIMIT]


def test_not_a_number_is_refused_but_for_padding(columns: Path, tmp_path: Path) -> None:
    with h5py.File(columns, "a") as file:
        file["action"][4] = np.nan
    import_recording([str(columns)], tmp_path / "out")
    with h5py.File(columns, "a") as file:
        file["action"][6] = np.nan
    with pytest.raises(WorldModelError, match=r"column 'action' holds a number that is not finite"):
        import_recording([str(columns)], tmp_path / "again")


def test_lengths_that_do_not_fit_are_refused(columns: Path, tmp_path: Path) -> None:
    with h5py.File(columns, "a") as file:
        file["ep_len"][1] = 40
    with pytest.raises(WorldModelError, match="speak of 45 rows in 2 episodes"):
        import_recording([str(columns)], tmp_path / "out")


def write_demos(path: Path, *, next_obs: bool, env_kwargs: dict[str, object]) -> dict[str, NDArray[Any]]:
    """Write two episodes as robosuite's scripts do; the file's order is not the numbers'."""
    rng = np.random.default_rng(0)
    answer = {}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": env_kwargs})
        for number, steps in ((10, 3), (2, 70)):
            pictures = rng.integers(0, 256, (steps + 1, 16, 16, 3), dtype=np.uint8)
            demo = data.create_group(f"demo_{number}")
            demo["actions"] = rng.uniform(-1, 1, (steps, 2))
            demo["rewards"] = np.arange(steps, dtype=np.float64)
            demo["obs/agentview_image"], demo["obs/eef_pos"] = pictures[:-1], rng.normal(size=(steps, 3))
            if next_obs:
                demo["next_obs/agentview_image"] = pictures[1:]
            answer |= {f"{number}/pictures": pictures, f"{number}/actions": demo["actions"][:]}
    return answer


@pytest.mark.parametrize("next_obs", [True, False])
def test_a_file_of_robosuite(tmp_path: Path, next_obs: bool) -> None:
    """Without `next_obs` nothing shows what the last action led to: it is left out."""
    written = write_demos(tmp_path / "lift.hdf5", next_obs=next_obs, env_kwargs={"control_freq": 10})
    imported = import_recording([str(tmp_path / "lift.hdf5")], tmp_path / "out")
    recording = Recording.open(tmp_path / "out")
    assert (recording.provenance.env, recording.provenance.control_seconds) == ("robomimic:lift", 0.1)
    assert imported.notes == ()
    for index, number in enumerate((2, 10)):
        episode = recording.episode(index)
        frames = written[f"{number}/pictures"] if next_obs else written[f"{number}/pictures"][:-1]
        np.testing.assert_array_equal(episode.frames, frames)
        np.testing.assert_array_equal(
            episode.actions, written[f"{number}/actions"][: len(frames) - 1].astype(np.float32)
        )
        np.testing.assert_array_equal(episode.reward, np.arange(len(frames) - 1))


def test_a_file_without_pictures_lists_what_it_has(tmp_path: Path) -> None:
    write_demos(tmp_path / "lift.hdf5", next_obs=True, env_kwargs={})
    with h5py.File(tmp_path / "lift.hdf5", "a") as file:
        for demo in file["data"].values():
            del demo["obs/agentview_image"]
    with pytest.raises(WorldModelError, match=r"no pictures.*\['eef_pos'\]"):
        import_recording([str(tmp_path / "lift.hdf5")], tmp_path / "out")
