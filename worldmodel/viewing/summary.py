"""A trained model on one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from worldmodel.errors import WorldModelError
from worldmodel.evaluation.interval import Rate
from worldmodel.evenly import evenly
from worldmodel.viewing.pictures import Image, check_alike, contact_sheet
from worldmodel.viewing.plots import BLUE, GREY, INK, ORANGE, TITLE, new_figure, tidy, write_figure

COLUMNS = 13  # frames across the page
GOAL_COLUMNS = 2  # of them, the goal takes these
INCHES = (14.0, 9.0)
PAD = {**TITLE, "pad": 18}  # room for what stands between a title and its picture


@dataclass(frozen=True)
class EpisodePicture:
    """One controlled episode of T frames.

    Attributes:
        real: `[T, H, W, 3]` uint8, what the camera saw.
        imagined: `[T, H, W, 3]` uint8, what the model expected to see at the same times.
        goal: `[H, W, 3]` uint8.
        success: whether the goal was reached.
        distances: `[S]`, distance to the goal over time, at equal intervals.
    """

    real: NDArray[np.uint8]
    imagined: NDArray[np.uint8]
    goal: NDArray[np.uint8]
    success: bool
    distances: NDArray[np.float64]


@dataclass(frozen=True)
class SummaryData:
    """What the page shows.

    Attributes:
        rollout_real, rollout_imagined: `[L, H, W, 3]` uint8, a held-out clip and its open-loop forecast.
        visible: frames of the clip that the model saw.
        episodes: controlled episodes; the first successful one is shown, or the first.
        tolerance: distance that counts as success.
        unit: of distances and tolerance.
        success: how many episodes reached their goal.
        floors: success of those who do not know the world, by name, in [0, 1].
        training: scalars of the run's log, by tag, entry by entry.
    """

    rollout_real: NDArray[np.uint8]
    rollout_imagined: NDArray[np.uint8]
    visible: int
    episodes: tuple[EpisodePicture, ...]
    tolerance: float
    unit: str
    success: Rate
    floors: dict[str, float]
    training: list[dict[str, float]]


def write_summary(path: Path, data: SummaryData) -> None:
    """Draw the page, 1400 × 900 pixels, as a PNG.

    Raises:
        WorldModelError: there is no episode, or real and imagined frames differ in shape.
    """
    if not data.episodes:
        raise WorldModelError("A summary of no episode was asked for; expected at least one.")
    figure = new_figure(*INCHES, arrange=False)
    grid = figure.add_gridspec(
        3, 1, height_ratios=(2.0, 2.0, 3.2), left=0.075, right=0.985, top=0.94, bottom=0.075, hspace=0.3
    )
    below = grid[2].subgridspec(1, 3, width_ratios=(1.1, 1.1, 0.8), wspace=0.26)
    _draw_rollout(figure.add_subplot(grid[0]), data)
    _draw_episode(figure.add_subplot(grid[1]), data.episodes)
    _draw_training(figure.add_subplot(below[0]), data.training)
    _draw_distances(figure.add_subplot(below[1]), data)
    _draw_success(figure.add_subplot(below[2]), data)
    write_figure(path, figure)


def _draw_rollout(axes: Axes, data: SummaryData) -> None:
    rows = [("real", data.rollout_real), ("imagined", data.rollout_imagined)]
    check_alike(rows, "rows")
    chosen = np.arange(len(data.rollout_real))[:COLUMNS]
    _show(axes, _two_rows(data.rollout_real[chosen], data.rollout_imagined[chosen]), "real", "imagined")
    axes.set_title("Open loop: a held-out clip, and what the model imagines of it", **PAD)
    _mark(axes, 0, data.visible, "seen", data.rollout_real)
    _mark(axes, data.visible, len(chosen), "forecast from these and the actions", data.rollout_real)


def _draw_episode(axes: Axes, episodes: tuple[EpisodePicture, ...]) -> None:
    episode = next((episode for episode in episodes if episode.success), episodes[0])
    check_alike([("real", episode.real), ("imagined", episode.imagined)], "rows")
    if episode.goal.shape != episode.real.shape[1:]:
        raise WorldModelError(f"The goal is {list(episode.goal.shape)}; expected {list(episode.real.shape[1:])}.")
    strip = COLUMNS - GOAL_COLUMNS
    chosen = evenly(len(episode.real), strip)
    image = _two_rows(episode.real[chosen], episode.imagined[chosen])
    height, width = image.shape[0], image.shape[0] * episode.goal.shape[1] // episode.goal.shape[0]
    goal = cv2.resize(episode.goal, (width, height), interpolation=cv2.INTER_NEAREST)
    gap = np.full((height, episode.goal.shape[1] // 4, 3), 255, np.uint8)
    _show(axes, np.concatenate([image, gap, goal.astype(np.uint8)], axis=1), "robot", "imagined")
    outcome = "reaches" if episode.success else "misses"
    axes.set_title(f"Control: the robot {outcome} a goal that it knows only as a picture", **PAD)
    axes.text(image.shape[1] + gap.shape[1] + width / 2, -4, "goal", ha="center", va="bottom", fontsize=9, color=INK)


def _draw_training(axes: Axes, training: list[dict[str, float]]) -> None:
    lines = {line["step"]: line for line in training if "valid/error_1" in line and "valid/copy_last_1" in line}
    steps = sorted(lines)  # a resumed run repeats steps: the last line holds
    axes.plot(
        steps, [lines[step]["valid/copy_last_1"] for step in steps], color=GREY, lw=1.8, ls="--", label="copy last"
    )
    axes.plot(steps, [lines[step]["valid/error_1"] for step in steps], color=BLUE, lw=2, label="forecast")
    axes.set_yscale("log")
    axes.set_title("Forecast error, one frame ahead", **PAD)
    axes.set_xlabel("training step")
    axes.set_ylabel("share of the latents' variance")
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)


def _draw_distances(axes: Axes, data: SummaryData) -> None:
    for episode in sorted(data.episodes, key=lambda episode: episode.success):
        axes.plot(episode.distances, color=BLUE if episode.success else ORANGE, lw=1, alpha=0.55)
    axes.axhline(data.tolerance, color=INK, lw=1.2, ls="--")
    for name, colour in (("reached", BLUE), ("missed", ORANGE)):
        axes.plot([], [], color=colour, label=name)
    axes.plot([], [], color=INK, ls="--", label=f"tolerance, {data.tolerance:g} {data.unit}")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.set_title("Distance to the goal", **PAD)
    axes.set_xlabel("time step")
    axes.set_ylabel(data.unit)
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    tidy(axes)


def _draw_success(axes: Axes, data: SummaryData) -> None:
    names = [name.replace(" ", "\n") for name in ("world model", *data.floors)]
    values = [data.success.value, *data.floors.values()]
    axes.bar(names, values, color=[BLUE] + [GREY] * len(data.floors), width=0.6)
    below, above = data.success.value - data.success.low, data.success.high - data.success.value
    axes.errorbar([0], [data.success.value], yerr=[[max(0.0, below)], [max(0.0, above)]], color=INK, capsize=5, lw=1.5)
    for place, value in enumerate(values):
        top = data.success.high if place == 0 else value
        axes.text(place, top + 0.02, f"{value:.0%}", ha="center", va="bottom", fontsize=10, color=INK)
    axes.set_ylim(0, 1.12)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_title(f"Success, {data.success.count} episodes, 95 % interval", **PAD)
    tidy(axes)


def _two_rows(above: NDArray[np.uint8], below: NDArray[np.uint8]) -> Image:
    return contact_sheet(np.concatenate([above, below]), columns=len(above))


def _show(axes: Axes, image: Image, above: str, below: str) -> None:
    """Show two rows of frames, with their names on the left."""
    axes.imshow(image)
    axes.set_anchor("W")
    axes.set_xticks([])
    axes.set_yticks([image.shape[0] / 4, image.shape[0] * 3 / 4], [above, below], fontsize=10, color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _mark(axes: Axes, first: int, stop: int, text: str, frames: NDArray[np.uint8]) -> None:
    """Write over frames `first` to `stop` of a strip what they are, with a thin line below."""
    pitch = frames.shape[2] + 2
    if stop > first:
        axes.plot([first * pitch, stop * pitch - 6], [-4, -4], color=GREY, lw=1.2, clip_on=False)
        axes.text((first + stop) / 2 * pitch - 3, -7, text, ha="center", va="bottom", fontsize=9, color=INK)
