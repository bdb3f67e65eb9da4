"""See what the model imagines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worldmodel.datasets.clips import ClipBatch, Clips
from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError
from worldmodel.evenly import evenly
from worldmodel.models.world_model import WorldModel
from worldmodel.training.device import Compute
from worldmodel.viewing.data import enlargement
from worldmodel.viewing.pictures import rollout_strip, write_png
from worldmodel.viewing.video import panels, write_video

CLIPS = 4  # that are shown
FPS = 4.0  # slower than life, to compare by eye
MARGIN = 8  # below a clip in the picture, pixels
HOLD = 3  # frames for which the last one of a clip stays


def view_rollout(
    model: WorldModel,
    recording: Recording,
    episodes: NDArray[np.int64],
    compute: Compute,
    out: Path,
    *,
    visible: int = 3,
    horizon: int = 5,
) -> list[Path]:
    """Write what really happened beside what the model forecasts from the first frames and the actions.

    The video shows clip after clip: real | imagined | difference. The picture shows the same frames in rows.

    Args:
        episodes: numbers of the held-out episodes.
        out: folder; `rollout.png` and `rollout.mp4` are written there.
        visible: C, frames that the model sees.
        horizon: M, frames that it forecasts, open loop.

    Returns:
        The two files.

    Raises:
        WorldModelError: C + M is more than the predictor's positions, or longer than every episode.
    """
    check_length(model, visible, horizon)
    clips = Clips(recording, episodes, length=visible + horizon)
    batch = clips.take(evenly(len(clips), CLIPS))
    imagined = imagine_clips(model, batch, compute, visible=visible)
    films, strips = [], []
    for number, (real, dream) in enumerate(zip(batch.frames, imagined, strict=True), start=1):
        rows = [(f"real {number}", real), ("imagined", dream), ("difference", difference(real, dream))]
        films.append(_film(rows, visible))
        strips.append(np.pad(rollout_strip(rows), ((0, MARGIN), (0, 0), (0, 0)), constant_values=255))
    picture, video = out / "rollout.png", out / "rollout.mp4"
    write_png(picture, np.concatenate(strips)[:-MARGIN])
    write_video(video, np.concatenate(films), fps=FPS)
    return [picture, video]


@torch.no_grad()
def imagine_clips(model: WorldModel, batch: ClipBatch, compute: Compute, *, visible: int) -> NDArray[np.uint8]:
    """Draw clips as the model imagines them, `[B, L, H, W, 3]` uint8.

    The visible frames are drawn from their own latents, the masked ones from the forecast, in one pass.

    Args:
        batch: B clips of L frames.
        visible: C, frames that the model sees.
    """
    length = batch.frames.shape[1]
    check_length(model, visible, length - visible)
    training = model.training
    model.eval()
    frames, actions, felt = (torch.from_numpy(x).to(compute.device) for x in (batch.frames, batch.actions, batch.felt))
    seen = (torch.arange(length, device=compute.device) < visible).expand(len(frames), -1)
    with compute.autocast():
        latents = model.encode(frames)
        forecast = model.predictor(latents, seen, model.flatten_actions(actions), felt=felt)
        drawn: NDArray[np.uint8] = model.picture(torch.where(seen[..., None], latents, forecast)).cpu().numpy()
    model.train(training)
    return drawn


def difference(real: NDArray[np.uint8], imagined: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return how far frames are apart, channel by channel, `[..., H, W, 3]` uint8; black where they are alike."""
    return np.maximum(real, imagined) - np.minimum(real, imagined)


def check_length(model: WorldModel, visible: int, horizon: int) -> None:
    """Refuse a clip that the predictor has no positions for, or of which nothing is seen or nothing forecast."""
    positions = model.config.predictor.positions
    if visible < 1 or horizon < 1 or visible + horizon > positions:
        raise WorldModelError(
            f"A rollout of {visible} visible frames and {horizon} forecast ones was asked for; expected at least one "
            f"of each, and together no more than the predictor's {positions} positions."
        )


def _film(rows: list[tuple[str, NDArray[np.uint8]]], visible: int) -> NDArray[np.uint8]:
    """Put rows side by side, `[L + HOLD, H', W', 3]`; the title of the second tells what is seen and what forecast."""
    (real, real_frames), (_, dream), (apart, apart_frames) = rows
    scale = enlargement(dream.shape[2])
    parts = [
        panels([(real, real_frames[part]), (title, dream[part]), (apart, apart_frames[part])], scale=scale)
        for part, title in ((slice(visible), "decoded (seen)"), (slice(visible, None), "imagined"))
    ]
    return np.concatenate([*parts, parts[-1][-1:].repeat(HOLD, axis=0)])
