"""What happened in a recording, as curves: actions, states, and where the states have been."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Episode, whole_episode
from worldmodel.evenly import evenly
from worldmodel.viewing.plots import INK, TITLE, new_figure, tidy, write_figure
from worldmodel.viewing.positions import positions_of

EPISODES, CURVES = 4, 6  # that are drawn; of more numbers, those that move most
BINS = 48
TICKS = [digit * 10**power for power in range(7) for digit in (1, 2, 5)]  # on a logarithmic scale
SURVEYED = 400  # episodes whose states are counted


def write_traces(path: Path, recording: Recording, episodes: NDArray[np.int64]) -> None:
    """Draw actions and positions of some episodes over time.

    Args:
        episodes: their numbers; the first `EPISODES` are drawn.
    """
    shown = [read_states(recording, index) for index in episodes[:EPISODES].tolist()]
    actions = most_moving([episode.actions for episode in shown])
    named = positions_of(recording)
    positions = most_moving([episode.qpos for episode in shown], last=named.orientation)
    figure = new_figure(14, 5)
    grid = figure.subplots(2, len(shown), sharex="col", sharey="row", squeeze=False)
    for column, episode in enumerate(shown):
        _draw_actions(grid[0, column], episode, actions, recording.provenance.control_seconds)
        _draw_positions(grid[1, column], episode, positions, named.names)
    grid[0, 0].set_ylabel("actions")
    grid[1, 0].set_ylabel("positions")
    for axes in grid[:, -1]:
        if axes.lines or axes.patches:  # plain video has neither actions nor states
            axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    write_figure(path, figure)


def write_coverage(path: Path, recording: Recording, episodes: NDArray[np.int64]) -> None:
    """Draw how often the recorded states were where: two positions, and their velocities.

    Of more than two, those that move most. What is white was never visited.

    Args:
        episodes: their numbers, of which at most `SURVEYED` are counted, evenly chosen.
    """
    chosen = episodes[evenly(len(episodes), SURVEYED)]
    states = [read_states(recording, index) for index in chosen.tolist()]
    named = positions_of(recording)
    figure = new_figure(12, 5)
    left, right = figure.subplots(1, 2)
    positions, speeds = [named.wrap(episode.qpos) for episode in states], [episode.qvel for episode in states]
    places = most_moving(positions, 2, last=named.orientation)
    _draw_coverage(left, "Where the states have been", named.names, positions, places)
    _draw_coverage(right, "How fast they were", named.speeds, speeds, most_moving(speeds, 2))
    write_figure(path, figure)


def read_states(recording: Recording, index: int) -> Episode:
    """Return episode `index` without its pictures, in the memory that a few of them take."""
    stored = recording.stream(index)
    blind = (replace(segment, pictures={}) for segment in stored.segments())
    return whole_episode(stored.index, stored.seed, stored.ending, blind)


def most_moving(
    columns: list[NDArray[np.float64]] | list[NDArray[np.float32]],
    count: int = CURVES,
    *,
    last: NDArray[np.bool_] | None = None,
) -> NDArray[np.intp]:
    """Return which columns of `[T, X]` vary most over all of the arrays, at most `count`, in rising order.

    Args:
        last: `[X]`, those to be taken only where others are too few.
    """
    spread = np.concatenate(columns).std(0)
    if last is not None:
        spread = np.where(last, spread - spread.max(initial=0) - 1, spread)
    return np.sort(np.argsort(-spread, kind="stable")[:count])


def count_visits(
    states: NDArray[np.float64], bins: int = BINS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Count how many of `states [T, 2]` fall into each square; return counts `[bins, bins]` and both axes' edges."""
    counts, first, second = np.histogram2d(states[:, 0], states[:, 1], bins=bins)
    return counts, first, second


def _draw_actions(axes: Axes, episode: Episode, columns: NDArray[np.intp], seconds: float) -> None:
    time = np.arange(len(episode.actions) + 1) * seconds
    for column in columns:
        axes.stairs(episode.actions[:, column], time, baseline=None, label=f"action {column}", lw=1.2)
    axes.set_title(f"Episode {episode.index}", **TITLE)
    axes.margins(x=0)
    tidy(axes)


def _draw_positions(axes: Axes, episode: Episode, columns: NDArray[np.intp], names: tuple[str, ...]) -> None:
    for column in columns:
        axes.plot(episode.time - episode.time[0], episode.qpos[:, column], label=names[column], lw=1.4)
    axes.set_xlabel("s")
    tidy(axes)


def _draw_coverage(
    axes: Axes, title: str, names: tuple[str, ...], columns: list[NDArray[np.float64]], shown: NDArray[np.intp]
) -> None:
    states = np.concatenate(columns)
    axes.set_title(title, **TITLE)
    if states.shape[1] == 0:
        axes.text(0.5, 0.5, "this recording has no states", ha="center", color=INK, transform=axes.transAxes)
        axes.set_axis_off()
        return
    axes.set_xlabel(names[shown[0]])
    if len(shown) == 1:
        axes.hist(states[:, shown[0]], bins=BINS)
        axes.set_ylabel("frames")
        tidy(axes)
        return
    counts, first, second = count_visits(states[:, shown])
    visited = np.ma.masked_equal(counts.T, 0)
    drawn = axes.pcolormesh(first, second, visited, norm=LogNorm(vmin=1), cmap="viridis")
    bar = axes.figure.colorbar(drawn, ax=axes, label="frames", format="{x:g}")
    bar.set_ticks([count for count in TICKS if count <= counts.max()], minor=False)
    bar.minorticks_off()
    axes.set_ylabel(names[shown[1]])
    share = (counts > 0).mean()
    axes.text(
        1,
        1.01,
        f"{share:.0%} of the squares visited",
        ha="right",
        va="bottom",
        transform=axes.transAxes,
        color=INK,
        fontsize=9,
    )
