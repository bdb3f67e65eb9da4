"""How the model's forecast goes wrong: how soon, and where in the picture first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from worldmodel.errors import WorldModelError
from worldmodel.evenly import evenly
from worldmodel.viewing.dream import Dream
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import EncodedEpisode, chart, encode_episodes, picture_latents
from worldmodel.viewing.pictures import contact_sheet
from worldmodel.viewing.plots import BLUE, GREY, INK, ORANGE, TITLE, new_figure, tidy, write_figure
from worldmodel.viewing.rollout import difference

EPISODES = 20  # of those held out; one dream in each
LONGEST = 20  # frames of a dream
HORIZONS = (1, 2, 3, 5, 10, 20)  # at which pictures are compared
COLUMNS = 12  # frames of the dream that parts first


@dataclass(frozen=True)
class Dreams:
    """B dreams of M frames, open loop, beside what happened.

    Attributes:
        episodes: `[B]`, where they begin.
        error: `[B, M]`, squared distance of latents; 1 is as far as two unrelated frames.
        still: `[B, M]`, the same if nothing moved after the last visible frame.
        motion: how far a frame is from the one before it, on the same scale.
        real, imagined: `[B, M, H, W, 3]` uint8.
    """

    episodes: NDArray[np.int64]
    error: NDArray[np.float64]
    still: NDArray[np.float64]
    motion: float
    real: NDArray[np.uint8]
    imagined: NDArray[np.uint8]

    def parting(self) -> NDArray[np.int64]:
        """Return the first frame, from 1, at which each dream is farther off than one frame's motion `[B]`.

        One more than M where it never is.
        """
        apart = self.error > self.motion
        first: NDArray[np.int64] = np.where(apart.any(1), apart.argmax(1) + 1, apart.shape[1] + 1)
        return first


def view_forecast(trained: Trained, out: Path) -> list[Path]:
    """Draw the error by horizon, when dreams part from the truth, where in the picture, and the first that does.

    Args:
        out: folder; `forecast.png` is written there.
    """
    path = out / "forecast.png"
    write_figure(path, draw_forecast(dream_episodes(trained), trained.model.most_visible))
    return [path]


def dream_episodes(trained: Trained, longest: int = LONGEST) -> Dreams:
    """Dream from the first frames of held-out episodes, each as long as the shortest of them allows.

    Raises:
        WorldModelError: the held-out episodes are too short.
    """
    recording, visible = trained.recording, trained.model.most_visible
    usable = trained.held_out[recording.whole_frames[trained.held_out] > visible]
    if not len(usable):
        raise WorldModelError(
            f"No held-out episode has more than the {visible} visible frames. Record longer episodes."
        )
    enough = usable[recording.whole_frames[usable] >= visible + longest]
    chosen = enough if len(enough) else usable
    chosen = chosen[evenly(len(chosen), EPISODES)]
    frames = int(min(longest, recording.whole_frames[chosen].min() - visible))
    encoded = encode_episodes(trained.model, recording, chosen, trained.compute)
    survey = chart(encoded)
    dreamt = torch.stack([_dream(trained, episode, frames) for episode in encoded])
    truth = np.stack([episode.latents[visible : visible + frames] for episode in encoded])
    before = np.stack([episode.latents[visible - 1] for episode in encoded])
    return Dreams(
        episodes=chosen,
        error=((dreamt.cpu().numpy() - truth) ** 2).mean(-1) / survey.unrelated,
        still=((before[:, None] - truth) ** 2).mean(-1) / survey.unrelated,
        motion=survey.motion / survey.unrelated,
        real=np.stack([recording.episode(i).frames[visible : visible + frames] for i in chosen.tolist()]),
        imagined=picture_latents(trained.model, dreamt, trained.compute),
    )


def draw_forecast(dreams: Dreams, visible: int) -> Figure:
    """Draw the figure."""
    figure = new_figure(13, 9.5)
    above, middle, below = figure.subfigures(3, 1, height_ratios=(1.25, 0.8, 1), squeeze=False)[:, 0]
    errors, parting = above.subplots(1, 2)
    _draw_errors(errors, dreams, visible)
    _draw_parting(parting, dreams)
    horizons = [horizon for horizon in HORIZONS if horizon <= dreams.error.shape[1]]
    apart = pixel_errors(dreams)
    brightest = max(float(apart.max()), 1e-9)
    middle.suptitle("Where in the picture: mean difference of all dreams", x=0.005, ha="left", **_BOLD)
    for axes, horizon in zip(middle.subplots(1, len(horizons), squeeze=False)[0], horizons, strict=True):
        axes.imshow(apart[horizon - 1], cmap="inferno", vmin=0, vmax=brightest)
        axes.set_title(f"{horizon} ahead", fontsize=9, color=INK)
        axes.set_axis_off()
    _draw_first(below.subplots(), dreams)
    return figure


def pixel_errors(dreams: Dreams) -> NDArray[np.float64]:
    """Return the mean difference of dreamt and real frames, `[M, H, W]`, of 255."""
    apart: NDArray[np.float64] = difference(dreams.real, dreams.imagined).mean((0, -1))
    return apart


_BOLD = {"fontsize": 11, "fontweight": "bold", "color": INK}


def _dream(trained: Trained, episode: EncodedEpisode, frames: int) -> torch.Tensor:
    """Return what the model expects after the visible frames, `[M, D]`."""
    device, visible = trained.compute.device, trained.model.most_visible
    recorded = trained.recording.episode(episode.index)
    felt = torch.from_numpy(trained.recording.proprioception(recorded.qpos[:visible], recorded.qvel[:visible]))
    blocks = torch.from_numpy(trained.recording.action_blocks(recorded, visible + frames)).to(device)
    dream = Dream(model=trained.model, compute=trained.compute, visible=visible)
    seen = torch.from_numpy(episode.latents[:visible]).to(device)
    dream.look(list(seen), list(blocks[: visible - 1]), list(felt.to(device)))
    return torch.stack([dream.advance(block).float() for block in blocks[visible - 1 :]])


def _draw_errors(axes: Axes, dreams: Dreams, visible: int) -> None:
    ahead = np.arange(1, dreams.error.shape[1] + 1)
    low, middle, high = np.quantile(dreams.error, (0.25, 0.5, 0.75), axis=0)
    axes.fill_between(ahead, low, high, color=BLUE, alpha=0.18, lw=0, label="middle half")
    axes.plot(ahead, middle, color=BLUE, lw=2, marker=".", label="dream, median")
    axes.plot(ahead, np.median(dreams.still, 0), color=GREY, lw=1.8, ls="--", label="as if nothing moved")
    axes.axhline(dreams.motion, color=ORANGE, lw=1.2, ls=":", label="one frame’s motion")
    axes.set_title(f"Error by horizon, open loop from {visible} frames", **TITLE)
    axes.set_title(f"{len(dreams.error)} held-out episodes", loc="right", fontsize=9, color=INK)
    axes.set_xlabel("frames ahead")
    axes.set_ylabel("1 = two unrelated frames")
    axes.set_ylim(0, 1.3 * max(high.max(), dreams.motion, np.median(dreams.still, 0).max()))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)
    tidy(axes)


def _draw_parting(axes: Axes, dreams: Dreams) -> None:
    longest = dreams.error.shape[1]
    counts = np.bincount(dreams.parting(), minlength=longest + 2)[1:]
    axes.bar(np.arange(1, longest + 1), counts[:-1], color=ORANGE)
    axes.bar([longest + 2], counts[-1:], color=BLUE)
    axes.set_xticks([*range(1, longest + 1, max(1, longest // 5)), longest + 2])
    axes.set_xticklabels([*map(str, range(1, longest + 1, max(1, longest // 5))), "not yet"])
    axes.set_title("When a dream is first off by more than a frame’s motion", **TITLE)
    axes.set_xlabel("frames ahead")
    axes.set_ylabel("dreams")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes)


def _draw_first(axes: Axes, dreams: Dreams) -> None:
    """Show the dream that parts first; of several, the one that is farthest off there."""
    parting = dreams.parting()
    soonest = np.flatnonzero(parting == parting.min())
    place = min(int(parting.min()), dreams.error.shape[1]) - 1
    worst = int(soonest[dreams.error[soonest, place].argmax()])
    count = min(COLUMNS, dreams.error.shape[1])
    real, imagined = dreams.real[worst, :count], dreams.imagined[worst, :count]
    axes.imshow(contact_sheet(np.concatenate([real, imagined, difference(real, imagined)]), columns=count))
    height, width = real.shape[1:3]
    axes.set_yticks([(row + 0.5) * (height + 2) for row in range(3)], ["real", "imagined", "difference"])
    axes.set_xticks([(column + 0.5) * (width + 2) for column in range(count)], [str(n + 1) for n in range(count)])
    axes.tick_params(length=0, labelsize=9, colors=INK)
    axes.spines[:].set_visible(False)
    if parting[worst] <= count:
        axes.axvline((parting[worst] - 1) * (width + 2) - 1, color=ORANGE, lw=2)
    axes.set_title(f"The dream that goes wrong first: episode {dreams.episodes[worst]}, frames ahead", **TITLE)
