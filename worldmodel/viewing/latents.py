"""What the latents of a recording look like: a map to draw on, and a scale to measure by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.training.device import Compute
from worldmodel.training.encode import encode_frames
from worldmodel.viewing.positions import positions_of


@dataclass(frozen=True)
class EncodedEpisode:
    """Frames of one episode as the model sees them.

    Attributes:
        index: number of the episode.
        latents: `[T, D]` float32; frames that follow one another by `steps_per_frame` control steps.
        qpos: `[T, nq]` float64, the physical state that the model is never told; angles in [-pi, pi).
    """

    index: int
    latents: NDArray[np.float32]
    qpos: NDArray[np.float64]


@dataclass(frozen=True)
class LatentMap:
    """The two directions in which latents spread most, and how far apart they are.

    Attributes:
        mean: `[D]`.
        axes: `[2, D]`, orthonormal.
        variance: `[D]`, along all principal directions, falling.
        motion: mean squared distance per dimension between one frame and the next.
        unrelated: the same between two frames that have nothing to do with each other.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    variance: NDArray[np.float64]
    motion: float
    unrelated: float

    def project(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map latents `[..., D]` to `[..., 2]`."""
        return ((latents - self.mean) @ self.axes.T).astype(np.float32)


def encode_episodes(
    model: WorldModel, recording: Recording, episodes: NDArray[np.int64], compute: Compute
) -> list[EncodedEpisode]:
    """Encode whole episodes."""
    encoded, positions = [], positions_of(recording)
    for index in episodes.tolist():
        episode = recording.episode(index)
        whole = int(recording.whole_frames[index])
        latents = encode_frames(model, episode.frames[:whole], compute).cpu().numpy()
        encoded.append(EncodedEpisode(index, latents, positions.wrap(episode.qpos[:whole])))
    return encoded


@torch.inference_mode()
def picture_latents(model: WorldModel, latents: Tensor, compute: Compute) -> NDArray[np.uint8]:
    """Draw latents `[..., D]` as the decoder pictures them, `[..., H, W, 3]` uint8."""
    with compute.autocast():
        drawn: NDArray[np.uint8] = model.picture(latents).cpu().numpy()
    return drawn


def chart(encoded: list[EncodedEpisode]) -> LatentMap:
    """Survey encoded episodes.

    Raises:
        WorldModelError: fewer than three frames.
    """
    latents = np.concatenate([episode.latents for episode in encoded]).astype(np.float64)
    if len(latents) < 3:
        raise WorldModelError(f"{len(latents)} frames are too few to survey latents; expected at least 3. Record more.")
    mean = latents.mean(0)
    _, singular, directions = np.linalg.svd(latents - mean, full_matrices=False)
    axes = np.zeros((2, latents.shape[1]))
    axes[: min(2, len(directions))] = directions[:2]
    axes *= np.where(axes.sum(1) < 0, -1, 1)[:, None]  # a direction and its opposite are the same: choose one
    steps = np.concatenate([np.diff(episode.latents.astype(np.float64), axis=0) for episode in encoded])
    return LatentMap(
        mean.astype(np.float32),
        axes.astype(np.float32),
        singular**2 / (len(latents) - 1),
        float((steps**2).mean()) if len(steps) else 0.0,
        float(2 * latents.var(0).mean()),
    )
