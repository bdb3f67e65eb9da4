"""See a planner plan: what it tried, what it chose, and what then happened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from worldmodel.errors import WorldModelError
from worldmodel.evaluation.latents import encode_frames
from worldmodel.evenly import evenly
from worldmodel.models.imagination import Imagination
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import LatentMap, chart, encode_episodes, picture_latents
from worldmodel.viewing.pictures import contact_sheet
from worldmodel.viewing.plots import BLUE, GREEN, GREY, INK, ORANGE, TITLE, new_figure, tidy, write_figure
from worldmodel.viewing.trials import Trials, read_report

MAPS = 4  # rounds of a search that are drawn
SURVEYED = 24  # episodes behind the maps
SAME = 0.02  # mean squared difference of latents, as a share of their mean square, that rounding explains


@dataclass(frozen=True)
class Tried:
    """One round of a search.

    Attributes:
        actions: `[N, H, K', A]` float32, the plans tried, in the actuators' units.
        latents: `[N, H, D]` float32, where each was expected to lead.
        cost: `[N]` float32.
        elites: how many of the cheapest the planner went on from; 0 where it keeps none apart.
    """

    actions: NDArray[np.float32]
    latents: NDArray[np.float32]
    cost: NDArray[np.float32]
    elites: int


@dataclass(frozen=True)
class Acted:
    """One trial of T blocks of K control steps, planned with horizon H, as it went.

    Attributes:
        number: of the trial in the report.
        goal_image: `[H, W, 3]` uint8; `goal` its latent `[D]`, `start` that of the start.
        frames: `[T + 1, H, W, 3]` uint8, what the robot saw.
        planned: `[H, H, W, 3]` uint8, the chosen future of the first plan.
        rounds: of the first search.
        best_by_round: `[T, R]`, the lowest cost found up to each round of each search; NaN where time was up.
        distance: `[T K + 1]`, to the goal, in `unit`.
        tolerance: the largest that counts.
    """

    number: int
    goal_image: NDArray[np.uint8]
    goal: NDArray[np.float32]
    start: NDArray[np.float32]
    frames: NDArray[np.uint8]
    planned: NDArray[np.uint8]
    rounds: list[Tried]
    best_by_round: NDArray[np.float64]
    distance: NDArray[np.float64]
    tolerance: float
    unit: str

    @property
    def solved(self) -> bool:
        """Whether the goal is held in the end."""
        return bool(self.distance[-1] <= self.tolerance)


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


def read_acted(trained: Trained, report: Path) -> list[Acted]:
    """Read what happened in some trials of a report, and imagine again what was tried there.

    What was tried, chosen and done is what the report holds. Where it was expected to lead is imagined again with
    the model, and held to what the planner had imagined.

    Raises:
        WorldModelError: see `view_plan`.
    """
    folder, _, control = read_report(report)
    trials, model, compute = Trials.read(folder), trained.model, trained.compute
    steps = model.interface.steps_per_frame
    foreign = WorldModelError(
        f"The report in '{folder}' is of another model than '{trained.folder}' holds now: it expects something else of "
        "the same plan. Plan again with: worldmodel plan RUN RECORDING"
    )
    *_, held, actuators = trials.actions.shape
    found = control.env, actuators, steps % held, trials.course.shape[-1]
    if found != (model.interface.env, len(model.low), 0, model.config.latent):
        raise foreign
    imagination = Imagination(model, hold=steps // held, dtype=torch.bfloat16 if compute.bf16 else torch.float32)
    acted = []
    for place, number in enumerate(trials.number.tolist()):
        start, goal = encode_frames(model, np.stack([trials.frames[place, 0], trials.goal[place]]), compute)
        actions = torch.from_numpy(trials.actions[place]).to(compute.device)
        with torch.no_grad():
            memory = imagination.remember(start[None, None], actions.new_zeros(1, 0, *actions.shape[2:]))
            imagined = imagination.imagine(memory, actions[None])[0].float().cpu().numpy()
        course = trials.course[place]
        away = np.square(imagined[trials.cost[place].argmin()] - course).mean() / np.square(course).mean()
        if not away <= SAME:
            raise foreign
        tried = [
            Tried(trials.actions[place, of], imagined[of], trials.cost[place, of], int(elites))
            for of, elites in ((trials.round == r, elites) for r, elites in enumerate(trials.elites))
        ]
        acted.append(
            Acted(
                number=number,
                goal_image=trials.goal[place],
                goal=goal.cpu().numpy(),
                start=start.cpu().numpy(),
                frames=trials.frames[place],
                planned=picture_latents(model, torch.from_numpy(course).to(compute.device), compute),
                rounds=tried,
                best_by_round=trials.best_by_round[place],
                distance=trials.distance[place],
                tolerance=control.tolerance,
                unit=control.unit,
            )
        )
    return acted


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
    for axes, number in zip(maps, shown.tolist(), strict=True):
        _draw_map(axes, trial, survey, cloud, number)
    _zoom(maps[0], trial, survey)
    maps[0].legend(frameon=False, fontsize=8, loc="lower left")
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
    axes.plot([], [], color=GREEN, label=f"{tried.elites} elites" if tried.elites else "cheapest")
    axes.plot(*start, "o", color=BLUE, ms=7, label="start", ls="")
    axes.plot(*goal, "D", color=ORANGE, ms=7, label="goal", ls="")
    spread = float(tried.actions.std(0).mean())
    axes.set_title(f"Round {number + 1} of {len(trial.rounds)}", **TITLE)
    axes.set_title(f"spread of actions {spread:.2f}", loc="right", fontsize=8, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])


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
