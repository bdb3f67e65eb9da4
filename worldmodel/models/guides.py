"""Networks that guide a planner, beside the world model: what to try, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from worldmodel.models.proposal import Proposer, ProposerConfig
from worldmodel.models.temporal_distance import TemporalDistance, TemporalDistanceConfig
from worldmodel.models.world_model import WorldModel


@dataclass(frozen=True)
class GuidesConfig:
    """The networks."""

    proposer: ProposerConfig = field(default_factory=ProposerConfig)
    distance: TemporalDistanceConfig = field(default_factory=TemporalDistanceConfig)


class Guides(nn.Module):
    """What was learned for planners, on the latents of a trained world model.

    Shapes: B robots, H blocks, S action steps in a block, A actuators, D latent, P proposals.

    Args:
        model: on whose latents they stand.
    """

    low: Tensor
    high: Tensor

    def __init__(self, config: GuidesConfig, *, model: WorldModel) -> None:
        super().__init__()
        self.config, self._block = config, model.interface.steps_per_frame
        latent = model.config.latent
        self.proposer = Proposer(config.proposer, latent=latent, action=model.interface.block)
        self.distance = TemporalDistance(config.distance, latent=latent)
        self.register_buffer("low", model.low.clone(), persistent=False)
        self.register_buffer("high", model.high.clone(), persistent=False)

    def propose(self, before: Tensor, now: Tensor, goal: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Propose plans, one for each time after which the goal might be reached.

        Args:
            before, now, goal: latents of the frame before, of this one and of the goal, `[B, D]` each.
            shape: `(H, S, A)` of a plan. Beyond the goal, and beyond the network's horizon, actions are in the
                middle of their bounds.

        Returns:
            `[B, P, H, S, A]`, in the actuators' units and within their bounds.
        """
        horizon, steps, actuators = shape
        known = min(horizon, self.config.proposer.horizon)
        times = torch.arange(1, known + 1, device=now.device).repeat(len(now))
        inputs = (latent.repeat_interleave(known, 0) for latent in (before, now, goal))
        blocks = self.proposer(*inputs, times)[:, :known].clamp(-1, 1)
        blocks = blocks * (torch.arange(known, device=now.device) < times[:, None])[..., None]
        held = blocks.view(len(now), known, known, steps, self._block // steps, actuators).mean(4)
        plans = torch.zeros(len(now), known, *shape, device=now.device)
        plans[:, :, :known] = held
        return (self.high + self.low) / 2 + plans * (self.high - self.low) / 2

    def steps_between(self, now: Tensor, goal: Tensor) -> Tensor:
        """Tell the frames from latents `[..., D]` to goals `[..., D]`."""
        frames: Tensor = self.distance(now, goal)
        return frames
