"""The model's dream: what it expects to see, action by action, without looking."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.training.device import Compute


class Dream:
    """Forecast on and on from what was seen last.

    As long as the predictor has positions, all frames since the last look are forecast in one pass from what was
    really seen, as in training. Beyond them the dream goes on from its own last frames, which nobody has felt.

    Shapes: C remembered frames, K control steps in a block, A actuators, D latent, P numbers felt.

    Args:
        visible: the most frames that were visible in training.
    """

    def __init__(self, *, model: WorldModel, compute: Compute, visible: int) -> None:
        self._model, self._compute, self._visible = model, compute, visible
        self._latents: list[Tensor] = []
        self._blocks: list[Tensor] = []
        self._felt: list[Tensor] = []
        self._since: list[tuple[Tensor, Tensor]] = []  # latent and the block that led to it, since the anchor

    @property
    def latent(self) -> Tensor:
        """What the dream sees now, `[D]`."""
        return self._since[-1][0] if self._since else self._latents[-1]

    def look(self, latents: Sequence[Tensor], blocks: Sequence[Tensor], felt: Sequence[Tensor] = ()) -> None:
        """Begin anew from what was really seen.

        Args:
            latents: `[D]` each, the present one last; of more than C, the last ones are taken.
            blocks: `[K, A]` each, between them, in the actuators' units.
            felt: `[P]` each, what the robot felt at these frames; none where nobody knows it.
        """
        if not latents or len(blocks) < len(latents) - 1:
            raise WorldModelError(
                f"A dream begins from frames and the blocks between them; got {len(latents)} frames "
                f"and {len(blocks)} blocks."
            )
        self._latents = list(latents)[-self._visible :]
        self._blocks = list(blocks)[len(blocks) - len(self._latents) + 1 :]
        self._felt = list(felt)[-self._visible :]
        self._since = []

    @torch.inference_mode()
    def advance(self, block: Tensor) -> Tensor:
        """Dream the frame that `block [K, A]`, in the actuators' units, leads to; return its latent `[D]`."""
        if len(self._latents) + len(self._since) == self._model.longest_clip:
            self._go_on_from_dream()
        blocks = [*(done for _, done in self._since), block]
        with self._compute.autocast():
            between = torch.stack(self._blocks) if self._blocks else block.new_zeros(0, *block.shape)
            felt = torch.stack(self._felt)[None] if self._felt else None
            state = self._model.remember(torch.stack(self._latents)[None], between[None], felt)
            ahead = self._model.imagine(state, torch.stack(blocks)[None, None])
        self._since.append((ahead[0, 0, -1], block))
        return self.latent

    def _go_on_from_dream(self) -> None:
        """Take the last C frames, seen or dreamt, for seen."""
        latents = [*self._latents, *(latent for latent, _ in self._since)]
        blocks = [*self._blocks, *(block for _, block in self._since)]
        self.look(latents, blocks)
