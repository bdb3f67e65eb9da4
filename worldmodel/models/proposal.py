"""From where the robot is and where it is to be, straight to a plan."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from worldmodel.errors import WorldModelError


@dataclass(frozen=True)
class ProposerConfig:
    """A perceptron.

    Attributes:
        width: of the hidden layers.
        depth: how many there are.
        horizon: H, blocks in a proposed plan, and the farthest goal, in frames.
        alternatives: N, ways that are proposed for one time: the mean of going left round a block and of going right
            runs into it. With four in place of one, 90 % of 1,000 goals were touched on Cube, 87 without, and 92 on
            PushT, 89 without; sixteen were no better.
    """

    width: int = 512
    depth: int = 3
    horizon: int = 5
    alternatives: int = 4

    def __post_init__(self) -> None:
        for name in ("width", "depth", "horizon", "alternatives"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} of the proposer is {getattr(self, name)}; expected at least 1.")


class Proposer(nn.Module):
    """Tell the action blocks that may have led from one latent to another, so many frames later.

    Shapes: B pairs, N alternatives, H blocks, D latent, U size of a flat action block, P proposals, M blocks in a plan.

    Args:
        latent: D.
        action: U.

    Source: goal-conditioned imitation of one's own data, after Ghosh et al., Learning to reach goals via iterated
    supervised learning, 2019; alternatives: Rupprecht et al., Learning in an uncertain world: representing ambiguity
    through multiple hypotheses, 2017. Differs: it answers whole plans, told the time to the goal, and only seeds a
    search.
    """

    def __init__(self, config: ProposerConfig, *, latent: int, action: int) -> None:
        super().__init__()
        self.config = config
        width, horizon = config.width, config.horizon
        sizes = 3 * latent + horizon, *(width for _ in range(config.depth))
        hidden = (layer for size in pairwise(sizes) for layer in (nn.Linear(*size), nn.GELU("tanh")))
        self.layers = nn.Sequential(*hidden, nn.Linear(width, config.alternatives * horizon * action))

    def forward(self, before: Tensor, now: Tensor, goal: Tensor, ahead: Tensor) -> Tensor:
        """Map latents `[B, D]` of the frame before, of this one and of the goal to blocks `[B, N, H, U]` in [-1, 1].

        Args:
            ahead: `[B]` int, frames from now to the goal, 1 to H. Blocks from number `ahead` on mean nothing.
        """
        when = nn.functional.one_hot(ahead - 1, self.config.horizon).to(now.dtype)
        blocks: Tensor = self.layers(torch.cat([before, now, goal, when], -1))
        return blocks.view(len(now), self.config.alternatives, self.config.horizon, -1)

    def plans(self, before: Tensor, now: Tensor, goal: Tensor, length: int) -> Tensor:
        """Propose plans of `length` blocks, N for each time after which the goal might be reached.

        Args:
            before, now, goal: latents `[B, D]`, as in `forward`.
            length: M; P is N times as many, at most N * H.

        Returns:
            `[B, P, M, U]` in [-1, 1]; plan p reaches the goal after p // N + 1 blocks, and those after it are zero.
        """
        known = min(length, self.config.horizon)
        times = torch.arange(1, known + 1, device=now.device).repeat(len(now))
        pairs = (latent.repeat_interleave(known, 0) for latent in (before, now, goal))
        blocks = self(*pairs, times)[:, :, :known].clamp(-1, 1)
        led = torch.arange(known, device=now.device) < times[:, None, None]
        plans = nn.functional.pad(blocks * led[..., None], (0, 0, 0, length - known))
        return plans.view(len(now), known * self.config.alternatives, length, -1)
