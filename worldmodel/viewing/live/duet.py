"""Simulator and dream side by side, on the same actions, and how far they are apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.schema import Episode
from worldmodel.errors import WorldModelError
from worldmodel.training.encode import encode_frames
from worldmodel.viewing.dream import Dream
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import LatentMap
from worldmodel.viewing.live.stage import Stage


class Duet:
    """One world, and the model that has seen its last frames and dreams on.

    Shapes: C remembered frames, K control steps in a block, A actuators, D latent, P numbers felt.

    Args:
        survey: the scale that distances between latents are told on.

    Attributes:
        stage: the simulator.
        dream: the dream.
        frame: what is seen now, `[H, W, 3]` uint8.
        since: frames dreamt since the last look.
        parted: the first of them in which the dream was farther off than one frame's motion; None while it is not.
        dreamt: frames dreamt in all.
    """

    frame: NDArray[np.uint8]
    since: int
    parted: int | None

    def __init__(self, trained: Trained, *, stage: Stage, survey: LatentMap) -> None:
        self._trained, self._survey, self.stage = trained, survey, stage
        self.dream = Dream(model=trained.model, compute=trained.compute, visible=trained.model.most_visible)
        self._seen: deque[Tensor] = deque(maxlen=trained.model.most_visible)
        self._felt: deque[Tensor] = deque(maxlen=trained.model.most_visible)
        self._blocks: deque[Tensor] = deque(maxlen=max(trained.model.most_visible - 1, 0))
        self.dreamt = 0

    @property
    def seen(self) -> Tensor:
        """Latents of what was seen last, `[C, D]`, the present one at the end."""
        return torch.stack(list(self._seen))

    @property
    def felt(self) -> Tensor:
        """What the robot felt of its joints then, `[C, P]`; P is 0 without proprioception."""
        return torch.stack(list(self._felt))

    @property
    def blocks(self) -> Tensor:
        """The blocks between what was seen last, `[C - 1, K, A]`."""
        count = len(self._seen) - 1
        if count:
            return torch.stack(list(self._blocks)[-count:])
        interface = self._trained.model.interface
        return torch.zeros(0, interface.steps_per_frame, len(interface.low), device=self._trained.compute.device)

    def begin(self, rng: np.random.Generator) -> None:
        """Start a new episode."""
        self.stage.reset(rng)
        self._start([], [], [])

    def begin_at(self, episode: int, frame: int) -> None:
        """Start from a recorded frame, with those before it in mind."""
        recorded = self.recorded(episode, frame)
        self.stage.restore(recorded, frame)
        interface = self._trained.model.interface
        steps, first = interface.steps_per_frame, max(0, frame + 1 - self._trained.model.most_visible)
        blocks = recorded.actions[first * steps : frame * steps].reshape(frame - first, steps, len(interface.low))
        felt = self._trained.recording.proprioception(recorded.qpos[first:frame], recorded.qvel[first:frame])
        self._start([self.encode(image) for image in recorded.frames[first:frame]], list(blocks), list(felt))

    def recorded(self, episode: int, frame: int) -> Episode:
        """Return the recorded episode that holds a frame.

        Raises:
            WorldModelError: there is no such frame, or it does not follow the one before it by a whole block.
        """
        recording = self._trained.recording
        if not 0 <= episode < recording.episodes or not 0 <= frame < recording.whole_frames[episode]:
            raise WorldModelError(f"Frame {frame} of episode {episode} was not recorded.")
        return recording.episode(episode)

    def look(self) -> None:
        """Let the dream begin anew from what was seen."""
        self.dream.look(list(self._seen), list(self._blocks), list(self._felt))
        self.since, self.parted = 0, None

    def see_again(self) -> None:
        """See the present anew, after its looks have changed; a dream that has yet to begin begins from that."""
        self.frame = self.stage.frame()
        self._seen[-1] = self.encode(self.frame)
        if self.since == 0:
            self.look()

    def advance(self, block: NDArray[np.float32], *, look_every: int) -> bool:
        """Do `block [K, A]`, for real and in the dream.

        Args:
            look_every: frames after which the dream looks again, in place of dreaming on; 0 never lets it.

        Returns:
            Whether the world ended the episode; then nothing was seen or dreamt, and `begin` must follow.
        """
        if self.stage.act(block):
            return True
        self._see(block)
        if look_every and self.since >= look_every:
            self.look()
            return False
        self.dream.advance(self._blocks[-1] if self._blocks else self._tensor(block))
        self.since += 1
        self.dreamt += 1
        if self.parted is None and self.apart(self.dream.latent) > self._survey.motion / self._survey.unrelated:
            self.parted = self.since
        return False

    def apart(self, latent: Tensor) -> float:
        """Return how far what is seen is from `latent`: 0 the same, 1 as far as two unrelated frames."""
        return float((self._seen[-1] - latent.float()).square().mean()) / self._survey.unrelated

    def encode(self, frame: NDArray[np.uint8]) -> Tensor:
        """Return the latent `[D]` of `frame [H, W, 3]`."""
        return encode_frames(self._trained.model, frame[None], self._trained.compute)[0]

    def _start(
        self, latents: Sequence[Tensor], blocks: Sequence[NDArray[np.float32]], felt: Sequence[NDArray[np.float32]]
    ) -> None:
        """Forget all but these latents, blocks and what was felt; see the present; dream from there."""
        self._seen.clear()
        self._seen.extend(latents)
        self._felt.clear()
        self._felt.extend(map(self._tensor, felt))
        self._blocks.clear()
        self._blocks.extend(map(self._tensor, blocks))
        self._perceive()
        self.look()

    def _see(self, block: NDArray[np.float32]) -> None:
        self._perceive()
        self._blocks.append(self._tensor(block))

    def _perceive(self) -> None:
        self.frame = self.stage.frame()
        self._seen.append(self.encode(self.frame))
        self._felt.append(self._tensor(self.stage.felt()))

    def _tensor(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).to(self._trained.compute.device)
