"""Episodes as a model sees them: encoded once, for every number that is taken of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.errors import RecordingError, WorldModelError
from worldmodel.evaluation.evaluate import as_seen_by
from worldmodel.evenly import evenly
from worldmodel.models.world_model import WorldModel
from worldmodel.training.config import read_train_config
from worldmodel.training.device import Compute
from worldmodel.training.encode import encode_frames

CLIPS_AT_ONCE = 512
COLLAPSED = 1e-12  # variance of the latents, as a share of their mean square


@dataclass(frozen=True)
class Split:
    """Numbers of the episodes that a run was trained on, and of those held out.

    Attributes:
        recording: as the run's cameras saw it.
    """

    recording: Recording
    training: NDArray[np.int64]
    held_out: NDArray[np.int64]


@dataclass(frozen=True)
class EncodedEpisode:
    """One episode as the model sees it.

    Shapes: F frames, whole action blocks apart; K control steps in a block, A actuators, D latent, P numbers felt.

    Attributes:
        latents: `[F, D]` float32.
        blocks: `[F - 1, K, A]` float32, in the actuators' units; block t leads from frame t to frame t + 1.
        felt: `[F, P]` float32; P is 0 without proprioception.
        qpos, qvel: `[F, ...]` float64, the physics state, with no columns where none was recorded.
    """

    latents: Tensor
    blocks: Tensor
    felt: Tensor
    qpos: NDArray[np.float64]
    qvel: NDArray[np.float64]


@dataclass(frozen=True)
class EncodedClips:
    """E clips of L frames out of encoded episodes.

    Attributes:
        latents: `[E, L, D]` float32.
        blocks: `[E, L - 1, K, A]` float32.
        felt: `[E, L, P]` float32.
        episode, start: `[E]` int64, which of the episodes a clip comes from, and its first frame there.
    """

    latents: Tensor
    blocks: Tensor
    felt: Tensor
    episode: NDArray[np.int64]
    start: NDArray[np.int64]


def split_of(run: Path, model: WorldModel, recording: Recording) -> Split:
    """Return the split that a run was trained with.

    Raises:
        WorldModelError: `recording` is not the one that the run was trained on.
    """
    recording = as_seen_by(model, recording)
    config = read_train_config(run)
    return Split(recording, *split_episodes(recording.episodes, config.held_out, config.seed))


def choose_episodes(recording: Recording, episodes: NDArray[np.int64], *, frames: int) -> NDArray[np.int64]:
    """Return as many of `episodes`, evenly chosen, as have about `frames` frames; all if they have no more."""
    held = int(recording.whole_frames[episodes].sum())
    count = max(1, round(len(episodes) * min(1.0, frames / max(1, held))))
    return episodes[evenly(len(episodes), count)]


def encode_episodes(
    model: WorldModel,
    recording: Recording,
    episodes: NDArray[np.int64],
    compute: Compute,
    progress: Callable[[int], None] | None = None,
) -> list[EncodedEpisode]:
    """Encode whole episodes, on the device of `compute`.

    Args:
        progress: is told how many frames were encoded, after each episode.
    """
    encoded = []
    for index in episodes:
        episode, count = recording.episode(int(index)), int(recording.whole_frames[index])
        blocks = recording.action_blocks(episode, count)
        latents = encode_frames(model, episode.frames[:count], compute)
        qpos, qvel = episode.qpos[:count], episode.qvel[:count]
        acted, felt = (torch.from_numpy(x).to(compute.device) for x in (blocks, recording.proprioception(qpos, qvel)))
        encoded.append(EncodedEpisode(latents, acted, felt, qpos, qvel))
        if progress:
            progress(count)
    return encoded


def check_alive(latents: Tensor) -> None:
    """Refuse latents `[N, D]` that say nothing.

    Raises:
        WorldModelError: they are not finite, or the same for every frame.
    """
    if not torch.isfinite(latents).all():
        raise WorldModelError("The run's latents are not finite: its training diverged. Train it again.")
    if latents.var(0).mean() <= COLLAPSED * latents.square().mean().clamp(min=1e-30):
        raise WorldModelError(
            "The run's latents have collapsed: every frame has the same one, so there is nothing to measure. Train "
            "again with a larger weight against collapse, or a smaller learning rate."
        )


def cut_clips(episodes: Sequence[EncodedEpisode], *, length: int, most: int) -> EncodedClips:
    """Cut clips of `length` frames out of episodes: one at each frame, or `most` of them, evenly chosen.

    Raises:
        RecordingError: no episode is long enough.
    """
    places = [(e, t) for e, episode in enumerate(episodes) for t in range(len(episode.latents) - length + 1)]
    if not places:
        longest = max((len(episode.latents) for episode in episodes), default=0)
        raise RecordingError(
            f"No held-out episode has {length} frames; the longest has {longest}. Record longer episodes, or measure "
            "with a smaller --length."
        )
    chosen = evenly(len(places), most)
    episode, start = np.array(places, np.int64)[chosen].T
    rows = [(episodes[e], int(t)) for e, t in zip(episode, start, strict=True)]
    return EncodedClips(
        torch.stack([held.latents[t : t + length] for held, t in rows]),
        torch.stack([held.blocks[t : t + length - 1] for held, t in rows]),
        torch.stack([held.felt[t : t + length] for held, t in rows]),
        episode,
        start,
    )


@torch.no_grad()
def forecast(
    model: WorldModel, latents: Tensor, blocks: Tensor, felt: Tensor, *, visible: int, compute: Compute
) -> Tensor:
    """Forecast what follows the first C = `visible` frames of clips, in one open-loop pass.

    Args:
        latents: `[E, L, D]`; those after the first C are not looked at.
        blocks: `[E, L - 1, K, A]`.
        felt: `[E, L, P]`; P is 0 for a model without proprioception. Again the first C count.

    Returns:
        `[E, L - C, D]` float32.

    Raises:
        WorldModelError: the clips are longer than those that the model was trained on.
    """
    check_length(model, latents.shape[1], visible)
    parts = []
    for start in range(0, len(latents), CLIPS_AT_ONCE):
        seen, acted, sensed = (x[start : start + CLIPS_AT_ONCE] for x in (latents, blocks, felt))
        with compute.autocast():
            state = model.remember(seen[:, :visible], acted[:, : visible - 1], sensed[:, :visible])
            parts.append(model.imagine(state, acted[:, None, visible - 1 :])[:, 0].float())
    return torch.cat(parts)


def check_length(model: WorldModel, length: int, visible: int) -> None:
    """Refuse clips of `length` frames that `model` cannot forecast from `visible` ones."""
    if not 1 <= visible < length or length > model.longest_clip:
        raise WorldModelError(
            f"Clips of {length} frames with {visible} visible were asked for; expected at least 1 visible, at least 1 "
            f"to forecast, and at most the {model.longest_clip} frames that this model was trained on. Use another "
            "--length or --visible."
        )


def untrained(model: WorldModel, seed: int) -> WorldModel:
    """Return a model of the same shape that has learned nothing; its weights depend on `seed` alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = type(model)(model.config, interface=model.interface)
    return fresh.to(model.low.device).eval()
