"""See the latents: where they lie, what they tell of physics, and whether a distance in them leads to a goal."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from worldmodel.evaluation.metrics.rankme import rankme
from worldmodel.evenly import evenly
from worldmodel.viewing.data import read_frames_at
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import EncodedEpisode, LatentMap, chart, encode_episodes
from worldmodel.viewing.neighbours import embed
from worldmodel.viewing.pictures import thumbnails
from worldmodel.viewing.plots import BLUE, GREY, INK, ORANGE, TITLE, new_figure, tidy, write_figure
from worldmodel.viewing.positions import Positions, positions_of
from worldmodel.viewing.traces import most_moving

EPISODES = 24  # of those held out
POINTS = 600  # in the scatter plots
PROJECTED = 1000  # frames given to TensorBoard
COLOURS = 3  # physical quantities that the points are coloured by
CURVES = 12  # episodes in the plot of distances
TAG, EVENTS = "latents", ".latents"  # of the embedding, and the end of its events' file name


def view_latent(trained: Trained, out: Path) -> list[Path]:
    """Draw the latents of held-out episodes, and write them for TensorBoard's projector.

    `latent.png` has three rows: the two directions in which latents spread most (PCA), and t-SNE, each coloured by
    the positions that move most, or by the frame's number where no states were recorded; the spectrum, how the
    distance to an episode's last frame falls, and how far a distance in latents is a distance in the world.

    Args:
        out: folder; `latent.png` and `projector/` are written there. What else is in that folder stays.

    Returns:
        The picture, and the folder for `tensorboard --logdir`.
    """
    chosen = trained.held_out[evenly(len(trained.held_out), EPISODES)]
    encoded = encode_episodes(trained.model, trained.recording, chosen, trained.compute)
    picture, projector = out / "latent.png", out / "projector"
    positions = positions_of(trained.recording)
    write_figure(picture, draw_latents(encoded, chart(encoded), positions))
    _write_projector(projector, trained, encoded, positions)
    return [picture, projector]


def draw_latents(encoded: list[EncodedEpisode], survey: LatentMap, positions: Positions) -> Figure:
    """Draw the figure.

    Args:
        positions: what the columns of `qpos` are.
    """
    latents = np.concatenate([episode.latents for episode in encoded])
    states = np.concatenate([episode.qpos for episode in encoded])
    points = evenly(len(latents), POINTS)
    figure = new_figure(13, 12)
    above, middle, below = figure.subfigures(3, 1, squeeze=False)[:, 0]
    columns = most_moving([episode.qpos for episode in encoded], COLOURS, last=positions.orientation)
    colours = [(states[:, column], positions.names[column], bool(positions.turning[column])) for column in columns]
    if not colours:
        colours = [(np.concatenate([np.arange(len(e.latents), dtype=np.float64) for e in encoded]), "frame", False)]
    for part, name, places in (
        (above, "PCA", survey.project(latents[points])),
        (middle, "t-SNE", embed(latents[points])),
    ):
        for axes, (values, quantity, turns) in zip(
            part.subplots(1, len(colours), squeeze=False)[0], colours, strict=True
        ):
            _draw_points(axes, name, places, values[points], quantity, turns)
    spectrum, falling, faithful = below.subplots(1, 3)
    _draw_spectrum(spectrum, survey.variance, rankme(torch.from_numpy(latents)))
    _draw_falling(falling, encoded[:CURVES], survey)
    _draw_faithful(faithful, latents, states, survey, positions)
    return figure


def goal_distances(episode: EncodedEpisode, unrelated: float) -> NDArray[np.float64]:
    """Return how far each frame of an episode is from its last, `[T]`; 1 is as far as two unrelated frames."""
    apart = episode.latents.astype(np.float64) - episode.latents[-1]
    distances: NDArray[np.float64] = (apart**2).mean(-1) / unrelated
    return distances


def _draw_points(
    axes: Axes, name: str, places: NDArray[np.float32], values: NDArray[np.float64], quantity: str, turns: bool
) -> None:
    axes.set_facecolor("#eef0f3")
    colours = "twilight" if turns else "viridis"  # the first begins as it ends
    drawn = axes.scatter(places[:, 0], places[:, 1], c=values, s=7, cmap=colours, linewidths=0)
    axes.figure.colorbar(drawn, ax=axes, label=quantity)
    axes.set_title(f"{name}, coloured by {quantity.split(',')[0]}", **TITLE)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")


def _draw_spectrum(axes: Axes, variance: NDArray[np.float64], rank: float) -> None:
    axes.bar(np.arange(1, len(variance) + 1), variance / variance.sum(), color=BLUE, width=0.8)
    axes.set_title("Spectrum", **TITLE)
    axes.set_title(f"effective rank {rank:.1f} of {len(variance)}", loc="right", fontsize=9, color=INK)
    axes.set_xlabel("principal direction")
    axes.set_ylabel("share of the variance")
    tidy(axes)


def _draw_falling(axes: Axes, encoded: list[EncodedEpisode], survey: LatentMap) -> None:
    curves = [goal_distances(episode, survey.unrelated) for episode in encoded]
    for curve in curves:
        axes.plot(np.arange(1 - len(curve), 1), curve, color=GREY, lw=0.9, alpha=0.7)
    shortest = min(map(len, curves))
    axes.plot(
        np.arange(1 - shortest, 1), np.mean([c[-shortest:] for c in curves], 0), color=ORANGE, lw=2.2, label="mean"
    )
    axes.axhline(1, color=INK, lw=1, ls="--")
    axes.text(0.01, 1, "two unrelated frames", fontsize=8, color=INK, va="bottom", transform=axes.get_yaxis_transform())
    axes.set_title("Distance to an episode’s last frame", **TITLE)
    axes.set_xlabel("frames before it")
    axes.set_ylabel("distance in latents")
    axes.margins(x=0)
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)


def _draw_faithful(
    axes: Axes,
    latents: NDArray[np.float32],
    states: NDArray[np.float64],
    survey: LatentMap,
    positions: Positions,
) -> None:
    """Plot distance in latents over distance in the world, for random pairs; angles are compared on the circle."""
    axes.set_title("Are far states far apart?", **TITLE)
    if states.shape[1] == 0:
        axes.text(0.5, 0.5, "this recording has no states", ha="center", color=INK, transform=axes.transAxes)
        axes.set_axis_off()
        return
    one, other = np.random.default_rng(0).integers(len(latents), size=(2, 4 * POINTS))
    apart = ((latents[one] - latents[other]).astype(np.float64) ** 2).mean(1) / survey.unrelated
    world = np.linalg.norm(positions.wrap(states[one] - states[other]), axis=1)
    edges = np.quantile(world, np.linspace(0, 1, 21))
    bins = np.clip(np.digitize(world, edges[1:-1]), 0, 19)
    quartiles = np.array([np.quantile(apart[bins == b], (0.25, 0.5, 0.75)) for b in range(20) if (bins == b).any()])
    middles = np.array([world[bins == b].mean() for b in range(20) if (bins == b).any()])
    axes.fill_between(middles, quartiles[:, 0], quartiles[:, 2], color=BLUE, alpha=0.18, lw=0, label="middle half")
    axes.plot(middles, quartiles[:, 1], color=BLUE, lw=2, label="median")
    axes.set_xlabel("distance of qpos, rad or m")
    axes.set_ylabel("distance in latents")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)


def _write_projector(folder: Path, trained: Trained, encoded: list[EncodedEpisode], positions: Positions) -> None:
    """Write latents, states and thumbnails as TensorBoard's embedding projector reads them."""
    _clear_projector(folder)
    latents = np.concatenate([episode.latents for episode in encoded])
    chosen = evenly(len(latents), PROJECTED)
    rows = [
        [str(episode.index), str(frame), *(f"{value:.4g}" for value in state)]
        for episode in encoded
        for frame, state in enumerate(episode.qpos)
    ]
    names = ["episode", "frame", *positions.names]
    places = [trained.recording.frame_start[episode.index] + np.arange(len(episode.latents)) for episode in encoded]
    small = thumbnails(read_frames_at(trained.recording, np.concatenate(places)[chosen]), 32)
    writer = SummaryWriter(str(folder), filename_suffix=EVENTS)
    writer.add_embedding(
        latents[chosen],
        metadata=[rows[index] for index in chosen.tolist()],
        metadata_header=names,
        label_img=torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255,
        tag=TAG,
    )
    writer.close()


def _clear_projector(folder: Path) -> None:
    """Delete what `_write_projector` wrote before, and nothing else."""
    inside = folder / "00000" / TAG  # where TensorBoard keeps an embedding of step 0
    written = [inside / name for name in ("metadata.tsv", "sprite.png", "tensors.tsv")]
    for path in (*folder.glob(f"events.*{EVENTS}"), folder / "projector_config.pbtxt", *written):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # not there, or something else is in it
        inside.rmdir()
