"""Traces and coverage: states are counted where they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Episode
from worldmodel.datasets.store import RecordingStore
from worldmodel.viewing.data import recording_facts
from worldmodel.viewing.positions import positions_of
from worldmodel.viewing.traces import count_visits, most_moving, read_states, write_coverage, write_traces


def test_visits_are_counted_in_their_squares() -> None:
    states = np.array([[0.0, 0.0]] * 3 + [[1.0, 0.0]] * 2 + [[1.0, 1.0]])
    counts, first, second = count_visits(states, bins=2)
    assert counts.tolist() == [[3, 0], [2, 1]]
    assert first.tolist() == second.tolist() == [0, 0.5, 1]


def test_what_moves_most_is_drawn() -> None:
    columns = np.random.default_rng(0).normal(size=(50, 4)) * [1, 5, 0, 3]
    assert most_moving([columns[:20], columns[20:]], 2).tolist() == [1, 3]
    last = np.array([False, True, False, True])
    assert most_moving([columns], 2, last=last).tolist() == [0, 2]
    assert most_moving([columns], 3, last=last).tolist() == [0, 1, 2]


def test_states_have_names_and_angles_without_limits_are_wrapped(reacher: Path, by_hand: Path) -> None:
    with Recording.open(reacher) as recording:
        arm = positions_of(recording)
    assert arm.names == ("shoulder, rad", "elbow, rad")
    assert arm.speeds == ("shoulder, rad/s", "elbow, rad/s")
    assert arm.turning.tolist() == [True, False]
    wrapped = arm.wrap(np.array([[7.0, 7.0], [-4.0, -4.0]]))
    assert np.allclose(wrapped, [[7 - 2 * np.pi, 7], [2 * np.pi - 4, -4]])
    with Recording.open(by_hand) as recording:  # of a world that nobody knows
        unknown = positions_of(recording)
    assert (unknown.names, unknown.turning.tolist()) == (("qpos 0", "qpos 1"), [False, False])


def test_the_parts_of_a_quaternion_are_told_apart(
    provenance: Provenance, make_episode: Callable[[int], Episode], tmp_path: Path
) -> None:
    episode = replace(make_episode(0), qpos=np.zeros((5, 13)), qvel=np.zeros((5, 12)))
    with RecordingStore(tmp_path / "a", replace(provenance, env="worldmodel/Cube-v0"), resume=False) as store:
        store.add(episode)
        store.finish(seconds=1.0)
    with Recording.open(tmp_path / "a") as recording:
        positions = positions_of(recording)
    assert positions.orientation.sum() == 4


def test_another_recording_gives_other_curves(
    by_hand: Path, make_episode: Callable[[int], Episode], tmp_path: Path
) -> None:
    pictures = []
    with Recording.open(by_hand) as recording:
        for number, draw in enumerate((write_traces, write_coverage)):
            for episodes in (np.array([0, 1]), np.array([1, 2])):
                path = tmp_path / f"{number}-{episodes[0]}.png"
                draw(path, recording, episodes)
                pictures.append(cv2.imread(str(path)))
    assert pictures[0].shape == pictures[1].shape == (500, 1400, 3)
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[2] != pictures[3]).any()


def test_facts_are_those_of_the_recording(by_hand: Path) -> None:
    with Recording.open(by_hand) as recording:
        facts = dict(recording_facts(recording))
    assert facts["episodes"] == "7"
    assert facts["frames"] == "29 of 8 x 8 pixels"
    assert facts["policy, seed"] == "uniform, 7"


def test_states_are_those_of_the_whole_episode_without_its_pictures(by_hand: Path) -> None:
    with Recording.open(by_hand) as recording:
        states, whole = read_states(recording, 3), recording.episode(3)
    assert not states.pictures
    for name in ("qpos", "qvel", "time", "actions", "reward"):
        assert np.array_equal(getattr(states, name), getattr(whole, name))
    assert (states.index, states.ending) == (whole.index, whole.ending)
