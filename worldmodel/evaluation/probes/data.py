"""Frames with the physical states that they show, in memory: what probes learn from, and what they are tested on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.reader import Recording
from worldmodel.errors import RecordingError
from worldmodel.evaluation.latents import EncodedEpisode
from worldmodel.evaluation.physical import STILL, Dimension, physical_states
from worldmodel.evaluation.probes.labels import rows_with_past

RESTS = 1e-3  # a number whose deviation in the held-out episodes is less than this share of that in training rests


@dataclass(frozen=True)
class LabelledFrames:
    """Whole episodes, one after another.

    Shapes: N frames, S dimensions of the state, E episodes, K control steps in a block, A actuators.

    Attributes:
        frames: `[N, H, W, 3]` uint8.
        states: `[N, S]` float32, in physical units.
        blocks: for each episode, `[F - 1, K, A]` float32.
        felt: for each episode, what the robot felt, `[F, P]` float32.
        first: `[E + 1]`, first row of each episode, and the end of the last.
    """

    frames: NDArray[np.uint8]
    states: Tensor
    blocks: tuple[Tensor, ...]
    felt: tuple[Tensor, ...]
    first: NDArray[np.int64]

    @property
    def rows(self) -> Tensor:
        """The rows that have a frame before them in their episode."""
        return rows_with_past(self.first)

    def encoded(self, latents: Tensor) -> list[EncodedEpisode]:
        """Return the episodes with `latents [N, D]`, and no states."""
        none = np.zeros((0, 0))
        pieces = [latents[a:b] for a, b in zip(self.first, self.first[1:], strict=False)]
        parts = zip(pieces, self.blocks, self.felt, strict=True)
        return [EncodedEpisode(piece, acted, felt, none, none) for piece, acted, felt in parts]


@dataclass(frozen=True)
class ProbeData:
    """What is read from what.

    Attributes:
        training, held_out: frames and states.
        dimensions: of the states.
        still: names of what never moves, or rests in the held-out episodes, and is left out.
    """

    training: LabelledFrames
    held_out: LabelledFrames
    dimensions: tuple[Dimension, ...]
    still: tuple[str, ...]


def read_probe_data(
    recording: Recording, training: NDArray[np.int64], held_out: NDArray[np.int64], device: torch.device
) -> ProbeData:
    """Read episodes into memory; states and blocks go to `device`.

    Raises:
        RecordingError: no physics states were recorded, or nothing moves in the held-out episodes.
    """
    episodes = [recording.episode(int(index)) for index in (*training, *held_out)]
    physical = physical_states(recording.provenance, episodes)
    counts = recording.whole_frames[np.concatenate([training, held_out])]
    parts = []
    for chosen in (slice(0, len(training)), slice(len(training), len(episodes))):
        some, lengths = episodes[chosen], counts[chosen].tolist()
        states = np.concatenate([s[:n] for s, n in zip(physical.values[chosen], lengths, strict=True)])
        acted = [recording.action_blocks(e, n) for e, n in zip(some, lengths, strict=True)]
        felt = [recording.proprioception(e.qpos[:n], e.qvel[:n]) for e, n in zip(some, lengths, strict=True)]
        parts.append(
            LabelledFrames(
                np.concatenate([episode.frames[:n] for episode, n in zip(some, lengths, strict=True)]),
                torch.from_numpy(states).float().to(device),
                tuple(torch.from_numpy(blocks).to(device) for blocks in acted),
                tuple(torch.from_numpy(one).to(device) for one in felt),
                np.cumsum([0, *lengths]),
            )
        )
    moving = _moving(*parts)
    if not any(moving):
        raise RecordingError(
            f"Nothing moves in the {len(held_out)} held-out episodes that probes of '{recording.provenance.env}' would "
            "be tested on. Record more episodes, or longer ones."
        )
    told = list(zip(physical.dimensions, moving, strict=True))
    dimensions = tuple(dimension for dimension, moves in told if moves)
    still = (*physical.still, *(dimension.name for dimension, moves in told if not moves))
    learned, asked = (replace(part, states=part.states[:, moving]) for part in parts)
    return ProbeData(learned, asked, dimensions, still)


def _moving(training: LabelledFrames, held_out: LabelledFrames) -> list[bool]:
    """Return of each dimension whether it moves where it is tested on, `[S]`; R² compares errors to that motion."""
    learned, asked = training.states.double(), held_out.states[held_out.rows].double()
    moves: list[bool] = (asked.std(0, correction=0) > (RESTS * learned.std(0, correction=0)).clamp(min=STILL)).tolist()
    return moves
