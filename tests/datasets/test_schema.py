"""Segments and episodes: columns that fit each other, and numbers that are numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from worldmodel.datasets.schema import Ending, Episode, Segment, picture_column, whole_episode
from worldmodel.errors import RecordingError

MakeEpisode = Callable[[int], Episode]
PER_FRAME = ["time", "qpos", "qvel", "act", "extra", "visual"]


def piece(episode: Episode, start: int, stop: int) -> Segment:
    """Return frames `start` to `stop` of an episode, with the actions that led into them."""
    first = 0 if start == 0 else int(episode.frame_step[start - 1])
    last = int(episode.frame_step[stop - 1])
    rows = {name: getattr(episode, name)[start:stop] for name in ("frame_step", *PER_FRAME)}
    actions = {name: getattr(episode, name)[first:last] for name in ("actions", "reward")}
    return Segment(
        pictures={name: pictures[start:stop] for name, pictures in episode.pictures.items()}, **rows, **actions
    )


@pytest.mark.parametrize("column", PER_FRAME)
def test_columns_of_different_lengths_are_refused(column: str, make_episode: MakeEpisode) -> None:
    episode = make_episode(0)
    with pytest.raises(RecordingError, match=f"'{column}' has 4 rows; expected 5"):
        replace(episode, **{column: getattr(episode, column)[:-1]})


def test_pictures_that_are_missing_are_refused(make_episode: MakeEpisode) -> None:
    episode = make_episode(0)
    pictures = {**episode.pictures, "depth/top": np.zeros((4, 8, 8), np.float32)}
    with pytest.raises(RecordingError, match="'depth/top' has 4 rows; expected 5"):
        replace(episode, pictures=pictures)


def test_every_action_has_its_reward(make_episode: MakeEpisode) -> None:
    episode = make_episode(0)
    with pytest.raises(RecordingError, match="'reward' has 11 rows for 12 actions"):
        replace(episode, reward=episode.reward[:-1])


@pytest.mark.parametrize("column", ["time", "qpos", "qvel", "extra", "visual", "actions", "reward"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_refused(column: str, value: float, make_episode: MakeEpisode) -> None:
    episode = make_episode(0)
    broken = getattr(episode, column).copy()
    broken[-1] = value
    with pytest.raises(RecordingError, match=f"'{column}'.*diverged"):
        replace(episode, **{column: broken})


def test_an_episode_is_a_stream_of_one_segment(make_episode: MakeEpisode) -> None:
    episode = make_episode(1)
    (segment,) = episode.segments()
    assert segment is episode
    assert (episode.length, episode.steps) == (len(episode.frames), len(episode.actions)) == (6, 15)


@pytest.mark.parametrize("cuts", [[0, 6], [0, 1, 6], [0, 3, 6], [0, 1, 2, 3, 4, 5, 6]])
def test_pieces_join_to_the_episode(cuts: list[int], make_episode: MakeEpisode) -> None:
    episode = make_episode(1)
    pieces = [piece(episode, start, stop) for start, stop in pairwise(cuts)]
    joined = whole_episode(episode.index, episode.seed, episode.ending, iter(pieces))
    assert (joined.index, joined.seed, joined.ending) == (1, 7, episode.ending)
    assert isinstance(joined.ending, Ending)
    for (name, rows), (_, expected) in zip(joined.columns(), episode.columns(), strict=True):
        assert rows.dtype == expected.dtype, name
        assert np.array_equal(rows, expected), name


def test_columns_are_each_named_once(make_episode: MakeEpisode) -> None:
    episode = make_episode(0)
    names = [name for name, _ in episode.columns()]
    assert sorted(names) == sorted({"frames/top", "frame_step", *PER_FRAME, "actions", "reward"})
    assert {name for name, _ in episode.frame_columns()} == set(names) - {"actions", "reward"}


def test_the_main_camera_s_frames_come_first(make_episode: MakeEpisode) -> None:
    episode = make_episode(0)
    side = np.zeros_like(episode.frames)
    depth = np.zeros(episode.frames.shape[:3], np.float32)
    both = replace(episode, pictures={"depth/top": depth, **episode.pictures, "frames/side": side})
    assert both.frames is episode.frames


@pytest.mark.parametrize(
    ("camera", "expected"), [("top", "depth/top"), ("", "depth/free"), ("robot/wrist", "depth/robot:wrist")]
)
def test_a_camera_s_name_becomes_a_column(camera: str, expected: str) -> None:
    assert picture_column("depth", camera) == expected
