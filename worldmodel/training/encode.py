"""Frames as latents: of a frozen encoder, all at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.reader import Recording
from worldmodel.models.world_model import WorldModel
from worldmodel.training.device import Compute
from worldmodel.training.processes import Processes

FRAMES_AT_ONCE = 256


@dataclass(frozen=True)
class EncodedFrames:
    """Frames as the model sees them, of one episode or of several after each other.

    Attributes:
        latents: `[F, D]` float32, of the frames that are whole action blocks apart.
        blocks: `[F, K, A]` float32; block t leads from frame t to frame t + 1, that of an episode's last frame is zero.
        felt: `[F, P]` float32, what the robot felt; P is 0 without proprioception.
    """

    latents: Tensor
    blocks: Tensor
    felt: Tensor


@torch.no_grad()
def encode_frames(model: WorldModel, frames: NDArray[np.uint8], compute: Compute) -> Tensor:
    """Encode `frames [F, H, W, 3]`, uint8, as `[F, D]` float32 on the device of `compute`, some at a time."""
    parts = []
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        with compute.autocast():
            part = model.encode(torch.from_numpy(frames[start : start + FRAMES_AT_ONCE]).to(compute.device))
        parts.append(part.float())
    return torch.cat(parts)


def encode_episodes(
    model: WorldModel, recording: Recording, episodes: NDArray[np.int64], compute: Compute
) -> Iterator[EncodedFrames]:
    """Yield whole episodes, encoded on the device of `compute`, one by one."""
    block = recording.provenance.steps_per_frame
    for index in episodes:
        episode = recording.episode(int(index))
        count = int(recording.whole_frames[index])
        blocks = np.zeros((count, block, episode.actions.shape[1]), np.float32)
        blocks[:-1] = recording.action_blocks(episode, count)
        latents = encode_frames(model, episode.frames[:count], compute)
        felt = recording.proprioception(episode.qpos[:count], episode.qvel[:count])
        yield EncodedFrames(latents, *(torch.from_numpy(x).to(compute.device) for x in (blocks, felt)))


def encode_shared(
    model: WorldModel, recording: Recording, episodes: NDArray[np.int64], compute: Compute, processes: Processes
) -> EncodedFrames:
    """Encode all frames of `episodes`, each process a part of them; every process gets all."""
    counts = recording.whole_frames[episodes]
    first = np.concatenate([[0], np.cumsum(counts)])
    provenance = recording.provenance
    latents = torch.zeros(int(first[-1]), model.config.latent, device=compute.device)
    blocks = torch.zeros(len(latents), provenance.steps_per_frame, len(provenance.low), device=compute.device)
    felt = torch.zeros(len(latents), recording.proprioception.size, device=compute.device)
    own = np.array_split(np.arange(len(episodes)), processes.count)[processes.rank]
    for position, encoded in zip(own, encode_episodes(model, recording, episodes[own], compute), strict=True):
        rows = slice(int(first[position]), int(first[position + 1]))
        latents[rows], blocks[rows], felt[rows] = encoded.latents, encoded.blocks, encoded.felt
    return EncodedFrames(*(processes.sum(x) for x in (latents, blocks, felt)))
