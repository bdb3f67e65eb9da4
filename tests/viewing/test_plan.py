"""A known search gives a known picture: what was tried, which of it were elites, what was planned and what happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from worldmodel.errors import WorldModelError
from worldmodel.viewing.acted import Acted, Tried
from worldmodel.viewing.latents import LatentMap
from worldmodel.viewing.plan import draw_plan
from worldmodel.viewing.plots import GREEN, GREY

SURVEY = LatentMap(np.zeros(3, np.float32), np.eye(3, dtype=np.float32)[:2], np.ones(3), 0.1, 1.0)
CLOUD = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


@pytest.fixture
def trial() -> Acted:
    """A trial of three blocks, planned two ahead, with five plans tried in each of two rounds."""
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    rounds = [
        Tried(
            rng.normal(size=(5, 2, 1, 1)).astype(np.float32),
            rng.normal(size=(5, 2, 3)).astype(np.float32),
            np.array([3.0, 1.0, 4.0, 2.0, 5.0], np.float32),
            elites=2,
        )
        for _ in range(2)
    ]
    return Acted(
        number=7,
        goal_image=frames[4],
        goal=np.ones(3, np.float32),
        start=np.zeros(3, np.float32),
        frames=frames[:4],
        planned=frames[3:5],
        rounds=rounds,
        best_by_round=np.array([[2.0, 1.0], [1.5, 0.5], [1.0, np.nan]]),
        distance=np.array([0.3, 0.2, 0.1, 0.01]),
        tolerance=0.025,
        unit="m",
    )


def paths(figure: Figure, number: int, colour: str) -> np.ndarray:
    """Return the paths of a colour on a map, `[paths, points, 2]`."""
    drawn = [c for c in figure.axes[number].collections if isinstance(c, LineCollection)]
    (of,) = [c for c in drawn if to_hex(c.get_colors()[0]) == colour]
    return np.stack(of.get_segments())


@pytest.mark.parametrize("number", [0, 1])
def test_all_plans_and_the_elites_are_on_the_map(trial: Acted, number: int) -> None:
    figure = draw_plan(trial, SURVEY, CLOUD)
    tried, elites = (paths(figure, number, colour) for colour in (GREY, GREEN))
    assert (tried[:, 0] == 0).all()  # all begin at the start
    np.testing.assert_allclose(tried[:, 1:], trial.rounds[number].latents[..., :2], rtol=1e-6)
    np.testing.assert_array_equal(elites, tried[[1, 3]])
    assert "2 elites" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_a_planner_without_elites_is_said_to_have_none(trial: Acted) -> None:
    figure = draw_plan(replace(trial, rounds=[replace(each, elites=0) for each in trial.rounds]), SURVEY, CLOUD)
    np.testing.assert_array_equal(paths(figure, 0, GREEN), paths(figure, 0, GREY)[[1]])
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "cheapest" in names
    assert not any("elites" in name for name in names)


def test_rounds_that_differ_in_their_elites_say_so(trial: Acted) -> None:
    first, second = trial.rounds
    figure = draw_plan(replace(trial, rounds=[first, replace(second, elites=0)]), SURVEY, CLOUD)
    told = [{text.get_text() for text in axes.get_legend().get_texts()} for axes in figure.axes[:2]]
    assert told[0] - told[1] == {"2 elites"}
    assert told[1] - told[0] == {"cheapest"}
    assert draw_plan(trial, SURVEY, CLOUD).axes[1].get_legend() is None


def test_plan_outcome_and_costs_are_those_of_the_trial(trial: Acted) -> None:
    strip, costs, distance = draw_plan(trial, SURVEY, CLOUD).axes[2:]
    sheet = np.asarray(strip.images[0].get_array())
    for row, column, frame in (
        (0, 0, trial.frames[0]),
        (0, 1, trial.planned[0]),
        (0, 2, trial.planned[1]),
        (1, 3, trial.frames[3]),
        (0, 5, trial.goal_image),
        (1, 5, trial.goal_image),
    ):
        assert np.array_equal(sheet[row * 10 :][:8, column * 10 :][:, :8], frame), (row, column)
    assert "reaches" in strip.get_title(loc="left")
    assert [line.get_ydata().tolist()[0] for line in costs.lines] == [2.0, 1.5, 1.0]
    assert distance.lines[0].get_ydata().tolist() == trial.distance.tolist()
    missed = replace(trial, distance=trial.distance + 1)
    assert "misses" in draw_plan(missed, SURVEY, CLOUD).axes[2].get_title(loc="left")
    with pytest.raises(WorldModelError, match=r"expected \[8, 8, 3\]"):
        draw_plan(replace(trial, planned=trial.planned[:, :4]), SURVEY, CLOUD)
