"""See a planner plan: what it tried, what it chose, and what then happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.evaluation.control import Progress
from worldmodel.viewing.data import evenly
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import LatentMap, chart, encode_episodes
from worldmodel.viewing.pictures import contact_sheet
from worldmodel.viewing.plots import BLUE, GREEN, GREY, INK, ORANGE, TITLE, new_figure, tidy, write_figure
from worldmodel.viewing.replay import Replay, act_again, choose_trials, read_report

MAPS = 4  # rounds of a search that are drawn
SURVEYED = 24  # episodes behind the maps


def view_plan(trained: Trained, report: Path, out: Path, progress: Progress | None = None) -> list[Path]:
    """Act out some trials of a report again, successes and failures, and draw them.

    Args:
        report: its folder.
        out: folder; `trial-<number>-solved.png` and `trial-<number>-missed.png` are written there.
    """
    folder, config = read_report(report)
    survey_episodes = trained.held_out[evenly(len(trained.held_out), SURVEYED)]
    encoded = encode_episodes(trained.model, trained.recording, survey_episodes, trained.compute)
    survey, cloud = chart(encoded), np.concatenate([episode.latents for episode in encoded])
    replays = act_again(trained, config, choose_trials(folder, config), progress)
    for old in out.glob("trial-*.png"):
        old.unlink()
    paths = []
    for replay in replays:
        path = out / f"trial-{replay.number:03d}-{'solved' if replay.solved else 'missed'}.png"
        write_figure(path, draw_plan(replay, survey, cloud))
        paths.append(path)
    return paths


def draw_plan(replay: Replay, survey: LatentMap, cloud: NDArray[np.float32]) -> Figure:
    """Draw one trial.

    Args:
        cloud: latents of recorded frames, `[N, D]`.

    Raises:
        WorldModelError: the plan and what happened have pictures of different sizes.
    """
    if replay.planned.shape[1:] != replay.frames.shape[1:]:
        raise WorldModelError(
            f"Planned frames are {list(replay.planned.shape[1:])}; expected {list(replay.frames.shape[1:])}."
        )
    figure = new_figure(13, 9)
    above, middle, below = figure.subfigures(3, 1, height_ratios=(1.15, 0.72, 1), squeeze=False)[:, 0]
    shown = evenly(len(replay.rounds), MAPS)
    maps = above.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for axes, number in zip(maps, shown.tolist(), strict=True):
        _draw_map(axes, replay, survey, cloud, number)
    maps[0].legend(frameon=False, fontsize=8, loc="lower left")
    _draw_strip(middle.subplots(), replay)
    cost, distance = below.subplots(1, 2)
    _draw_costs(cost, replay)
    _draw_distance(distance, replay)
    return figure


def _draw_map(axes: Axes, replay: Replay, survey: LatentMap, cloud: NDArray[np.float32], number: int) -> None:
    tried = replay.rounds[number]
    places = survey.project(cloud)
    axes.scatter(places[:, 0], places[:, 1], s=3, color="#d5dae0", linewidths=0)
    start, goal = survey.project(replay.start), survey.project(replay.goal)

    def paths(latents: Tensor, **style: object) -> None:
        flat = survey.project(latents.float().cpu().numpy())
        begun = np.concatenate([np.broadcast_to(start, (len(flat), 1, 2)), flat], axis=1)
        axes.add_collection(LineCollection(list(begun), **style), autolim=False)  # type: ignore[arg-type]

    paths(tried.latents, colors=GREY, linewidths=0.5, alpha=0.5)
    paths(tried.latents[tried.elites], colors=GREEN, linewidths=0.9)
    axes.plot([], [], color=GREY, label="tried")
    axes.plot([], [], color=GREEN, label="elites")
    axes.plot(*start, "o", color=BLUE, ms=7, label="start", ls="")
    axes.plot(*goal, "D", color=ORANGE, ms=7, label="goal", ls="")
    spread = float(tried.actions.std(0).mean())
    axes.set_title(f"Round {number + 1} of {len(replay.rounds)}", **TITLE)
    axes.set_title(f"spread of actions {spread:.2f}", loc="right", fontsize=8, color=INK)
    edges = np.quantile(places, (0.01, 0.99), axis=0)
    low, high = np.minimum(edges[0], np.minimum(start, goal)), np.maximum(edges[1], np.maximum(start, goal))
    axes.set_xlim(low[0] - 0.3, high[0] + 0.3)
    axes.set_ylim(low[1] - 0.3, high[1] + 0.3)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_strip(axes: Axes, replay: Replay) -> None:
    """Show the first plan's future above what then happened, and the goal at the end of both."""
    count = len(replay.frames)
    height, width = replay.goal_image.shape[:2]
    blank = np.full((1, height, width, 3), 255, np.uint8)
    goal = replay.goal_image[None]
    planned = replay.planned[: count - 1]
    above = [replay.frames[:1], planned, blank.repeat(count - 1 - len(planned), 0), blank, goal]
    below = [replay.frames, blank, goal]
    columns = count + 2
    axes.imshow(contact_sheet(np.concatenate([*above, *below]), columns=columns))
    axes.set_yticks([(row + 0.5) * (height + 2) for row in range(2)], ["first plan", "happened"])
    names = ["start", *map(str, range(1, count)), "", "goal"]
    axes.set_xticks([(column + 0.5) * (width + 2) for column in range(columns)], names)
    axes.tick_params(length=0, labelsize=9, colors=INK)
    axes.spines[:].set_visible(False)
    outcome = "reaches" if replay.solved else "misses"
    axes.set_title(f"Trial {replay.number}: the robot {outcome} its goal, planning anew at each frame", **TITLE)


def _draw_costs(axes: Axes, replay: Replay) -> None:
    plans, rounds = replay.best_by_round.shape
    for number, costs in enumerate(replay.best_by_round):
        shade = 1 - 0.75 * number / max(1, plans - 1)
        label = f"plan {number + 1}" if number in (0, plans - 1) else None
        axes.plot(np.arange(1, rounds + 1), costs, color=BLUE, alpha=shade, lw=1.8, label=label)
    axes.set_title("Cost of the best plan, by round", **TITLE)
    axes.set_xlabel("round of the search")
    axes.set_ylabel("cost")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)


def _draw_distance(axes: Axes, replay: Replay) -> None:
    steps = len(replay.distance) - 1
    time = np.arange(steps + 1) / (steps / (len(replay.frames) - 1))
    axes.plot(time, replay.distance, color=BLUE if replay.solved else ORANGE, lw=2)
    axes.axhline(replay.tolerance, color=INK, lw=1.2, ls="--", label=f"tolerance, {replay.tolerance:g} {replay.unit}")
    axes.set_title("Distance to the goal", **TITLE)
    axes.set_xlabel("frame")
    axes.set_ylabel(replay.unit)
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)
