"""See a planner plan: what it tried, what it chose, and what then happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from worldmodel.errors import WorldModelError
from worldmodel.evenly import evenly
from worldmodel.viewing.acted import Acted, read_acted
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import LatentMap, chart, encode_episodes
from worldmodel.viewing.pictures import contact_sheet
from worldmodel.viewing.plots import BLUE, GREEN, GREY, INK, ORANGE, TITLE, new_figure, tidy, write_figure

MAPS = 4  # rounds of a search that are drawn
SURVEYED = 24  # episodes behind the maps


def view_plan(trained: Trained, report: Path, out: Path) -> list[Path]:
    """Draw some trials of a report, successes and failures, as they went.

    Args:
        report: its folder.
        out: folder; `trial-<number>-solved.png` and `trial-<number>-missed.png` are written there.

    Raises:
        WorldModelError: there is no report, it does not hold its trials, or it is not one of this model.
    """
    acted = read_acted(trained, report)
    surveyed = trained.held_out[evenly(len(trained.held_out), SURVEYED)]
    encoded = encode_episodes(trained.model, trained.recording, surveyed, trained.compute)
    survey, cloud = chart(encoded), np.concatenate([episode.latents for episode in encoded])
    for old in out.glob("trial-*.png"):
        old.unlink()
    paths = []
    for trial in acted:
        path = out / f"trial-{trial.number:03d}-{'solved' if trial.solved else 'missed'}.png"
        write_figure(path, draw_plan(trial, survey, cloud))
        paths.append(path)
    return paths


def draw_plan(trial: Acted, survey: LatentMap, cloud: NDArray[np.float32]) -> Figure:
    """Draw one trial.

    Args:
        cloud: latents of recorded frames, `[N, D]`.

    Raises:
        WorldModelError: the plan and what happened have pictures of different sizes.
    """
    if trial.planned.shape[1:] != trial.frames.shape[1:]:
        raise WorldModelError(
            f"Planned frames are {list(trial.planned.shape[1:])}; expected {list(trial.frames.shape[1:])}."
        )
    figure = new_figure(13, 9)
    above, middle, below = figure.subfigures(3, 1, height_ratios=(1.15, 0.72, 1), squeeze=False)[:, 0]
    shown = evenly(len(trial.rounds), MAPS)
    maps = above.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    told = None  # how many elites the last legend speaks of
    for axes, number in zip(maps, shown.tolist(), strict=True):
        _draw_map(axes, trial, survey, cloud, number)
        if trial.rounds[number].elites != told:
            told = trial.rounds[number].elites
            axes.legend(frameon=False, fontsize=8, loc="lower left")
    _zoom(maps[0], trial, survey)
    _draw_strip(middle.subplots(), trial)
    cost, distance = below.subplots(1, 2)
    _draw_costs(cost, trial)
    _draw_distance(distance, trial)
    return figure


def _draw_map(axes: Axes, trial: Acted, survey: LatentMap, cloud: NDArray[np.float32], number: int) -> None:
    tried = trial.rounds[number]
    places = survey.project(cloud)
    axes.scatter(places[:, 0], places[:, 1], s=3, color="#d5dae0", linewidths=0)
    start, goal = survey.project(trial.start), survey.project(trial.goal)

    def paths(latents: NDArray[np.float32], **style: object) -> None:
        flat = survey.project(latents)
        begun = np.concatenate([np.broadcast_to(start, (len(flat), 1, 2)), flat], axis=1)
        axes.add_collection(LineCollection(list(begun), **style), autolim=False)  # type: ignore[arg-type]

    paths(tried.latents, colors=GREY, linewidths=0.5, alpha=0.5)
    paths(tried.latents[tried.cost.argsort()[: tried.elites or 1]], colors=GREEN, linewidths=0.9)
    axes.plot([], [], color=GREY, label="tried")
    axes.plot([], [], color=GREEN, label=_told(tried.elites))
    axes.plot(*start, "o", color=BLUE, ms=7, label="start", ls="")
    axes.plot(*goal, "D", color=ORANGE, ms=7, label="goal", ls="")
    spread = float(tried.actions.std(0).mean())
    axes.set_title(f"Round {number + 1} of {len(trial.rounds)}", **TITLE)
    axes.set_title(f"spread of actions {spread:.2f}", loc="right", fontsize=8, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])


def _told(elites: int) -> str:
    """Name the plans that a search goes on from."""
    return "cheapest" if not elites else "the elite" if elites == 1 else f"{elites} elites"


def _zoom(axes: Axes, trial: Acted, survey: LatentMap) -> None:
    """Show start, goal and the bulk of what was tried in any round."""
    tried = np.concatenate([survey.project(each.latents).reshape(-1, 2) for each in trial.rounds])
    musts = np.stack(
        [survey.project(trial.start), survey.project(trial.goal), *np.quantile(tried, (0.02, 0.98), axis=0)]
    )
    low, high = musts.min(0), musts.max(0)
    margin = 0.15 * (high - low).max()
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)


def _draw_strip(axes: Axes, trial: Acted) -> None:
    """Show the first plan's future above what then happened, and the goal at the end of both."""
    count = len(trial.frames)
    height, width = trial.goal_image.shape[:2]
    blank = np.full((1, height, width, 3), 255, np.uint8)
    goal = trial.goal_image[None]
    planned = trial.planned[: count - 1]
    above = [trial.frames[:1], planned, blank.repeat(count - 1 - len(planned), 0), blank, goal]
    below = [trial.frames, blank, goal]
    columns = count + 2
    axes.imshow(contact_sheet(np.concatenate([*above, *below]), columns=columns))
    axes.set_yticks([(row + 0.5) * (height + 2) for row in range(2)], ["first plan", "happened"])
    names = ["start", *map(str, range(1, count)), "", "goal"]
    axes.set_xticks([(column + 0.5) * (width + 2) for column in range(columns)], names)
    axes.tick_params(length=0, labelsize=9, colors=INK)
    axes.spines[:].set_visible(False)
    outcome = "reaches" if trial.solved else "misses"
    axes.set_title(f"Trial {trial.number}: the robot {outcome} its goal, planning anew at each frame", **TITLE)


def _draw_costs(axes: Axes, trial: Acted) -> None:
    plans, rounds = trial.best_by_round.shape
    for number, costs in enumerate(trial.best_by_round):
        shade = 1 - 0.75 * number / max(1, plans - 1)
        label = f"plan {number + 1}" if number in (0, plans - 1) else None
        axes.plot(np.arange(1, rounds + 1), costs, color=BLUE, alpha=shade, lw=1.8, marker="o", ms=3, label=label)
    axes.set_title("Cost of the best plan, by round", **TITLE)
    axes.set_xlabel("round of the search")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("cost")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)


def _draw_distance(axes: Axes, trial: Acted) -> None:
    steps = len(trial.distance) - 1
    time = np.arange(steps + 1) / (steps / (len(trial.frames) - 1))
    axes.plot(time, trial.distance, color=BLUE if trial.solved else ORANGE, lw=2)
    axes.axhline(trial.tolerance, color=INK, lw=1.2, ls="--", label=f"tolerance, {trial.tolerance:g} {trial.unit}")
    axes.set_title("Distance to the goal", **TITLE)
    axes.set_xlabel("frame")
    axes.set_ylabel(trial.unit)
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)
