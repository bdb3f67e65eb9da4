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
from worldmodel.viewing.angles import turning_positions, wrap
from worldmodel.viewing.data import recording_facts
from worldmodel.viewing.traces import count_visits, most_moving, write_coverage, write_traces


def test_visits_are_counted_in_their_squares() -> None:
    states = np.array([[0.0, 0.0]] * 3 + [[1.0, 0.0]] * 2 + [[1.0, 1.0]])
    counts, first, second = count_visits(states, bins=2)
    assert counts.tolist() == [[3, 0], [2, 1]]
    assert first.tolist() == second.tolist() == [0, 0.5, 1]


def test_what_moves_most_is_drawn() -> None:
    columns = np.random.default_rng(0).normal(size=(50, 4)) * [1, 5, 0, 3]
    assert most_moving([columns[:20], columns[20:]], 2).tolist() == [1, 3]


def test_angles_without_limits_are_wrapped_and_others_left(provenance: Provenance) -> None:
    reacher = replace(provenance, env="worldmodel/Reacher-v0")
    assert turning_positions(reacher).tolist() == [True, False]
    assert turning_positions(provenance).tolist() == []
    assert turning_positions(replace(reacher, simulation=None)).tolist() == []
    wrapped = wrap(np.array([[7.0, 7.0], [-4.0, -4.0]]), np.array([True, False]))
    assert np.allclose(wrapped, [[7 - 2 * np.pi, 7], [2 * np.pi - 4, -4]])


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
