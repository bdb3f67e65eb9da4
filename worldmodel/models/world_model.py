"""The world model: its networks, and what can be asked of them together."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from worldmodel.errors import WorldModelError
from worldmodel.models.conv import ConvEncoderConfig
from worldmodel.models.decoder import Decoder, DecoderConfig
from worldmodel.models.disagreement import Disagreement, DisagreementConfig
from worldmodel.models.encoders import EncoderConfig, make_encoder
from worldmodel.models.interface import Interface
from worldmodel.models.inverse import InverseDynamics, InverseDynamicsConfig
from worldmodel.models.predictor import Predictor, PredictorConfig
from worldmodel.models.proposal import Proposer, ProposerConfig
from worldmodel.models.reward import RewardConfig, RewardHead
from worldmodel.models.temporal_distance import TemporalDistance, TemporalDistanceConfig


@dataclass(frozen=True)
class WorldModelConfig:
    """The networks.

    Attributes:
        latent: D, size of a latent.
        proprioception: the predictor is also told what the robot feels of its own joints at visible frames: position
            and velocity of those that its actuators drive. It learns nothing of objects by it, and goals stay images.
    """

    latent: int = 64
    proprioception: bool = False
    encoder: EncoderConfig = field(default_factory=ConvEncoderConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    inverse: InverseDynamicsConfig = field(default_factory=InverseDynamicsConfig)
    proposer: ProposerConfig = field(default_factory=ProposerConfig)
    distance: TemporalDistanceConfig = field(default_factory=TemporalDistanceConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    disagreement: DisagreementConfig = field(default_factory=DisagreementConfig)

    def __post_init__(self) -> None:
        if self.latent < 1:
            raise WorldModelError(f"latent is {self.latent}; expected at least 1 number.")


class WorldModel(nn.Module):
    """Latent dynamics of a world seen through one camera, or several whose views lie side by side.

    Shapes: B clips, L frames, C visible frames, N plans, M future frames, K control steps in a
    block, S actions that are held in it, A actuators, U = K * A, D latent, P numbers that are felt, W width of
    the predictor's state.

    Args:
        interface: what the model is trained on.

    Raises:
        WorldModelError: proprioception is asked for and nothing is felt, or the other way round.
    """

    low: Tensor
    high: Tensor
    reach: Tensor

    def __init__(self, config: WorldModelConfig, *, interface: Interface) -> None:
        super().__init__()
        if config.proprioception != (interface.proprioception > 0):
            raise WorldModelError(
                f"proprioception is {config.proprioception}, but the interface tells of {interface.proprioception} "
                "numbers that are felt; expected some with it, and 0 without."
            )
        self.config, self.interface = config, interface
        size = {"height": interface.height, "width": interface.width, "latent": config.latent}
        self.encoder = make_encoder(config.encoder, **size)
        self.predictor = Predictor(
            config.predictor, latent=config.latent, action=interface.block, felt=interface.proprioception
        )
        self.inverse = InverseDynamics(config.inverse, latent=config.latent, action=interface.block)
        self.proposer = Proposer(config.proposer, latent=config.latent, action=interface.block)
        self.distance = TemporalDistance(config.distance, latent=config.latent)
        self.decoder = Decoder(config.decoder, **size)
        self.reward = RewardHead(config.reward, latent=config.latent, action=interface.block)
        self.disagreement = Disagreement(config.disagreement, latent=config.latent, action=interface.block)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_buffer("reach", torch.zeros(len(interface.low), config.latent))  # see `fit_reach`
        self.register_buffer("low", torch.tensor(interface.low), persistent=False)
        self.register_buffer("high", torch.tensor(interface.high), persistent=False)

    @property
    def longest_clip(self) -> int:
        """The most frames, visible and masked together, that the predictor was trained on."""
        return self.config.predictor.positions

    @property
    def most_visible(self) -> int:
        """The most visible frames that the predictor was trained on."""
        return self.config.predictor.visible

    @property
    def longest_forecast(self) -> int:
        """The most masked frames that follow as many visible ones as there may be."""
        return self.longest_clip - self.most_visible

    def encode(self, frames: Tensor) -> Tensor:
        """Encode `frames [..., H, W, 3]`, uint8, as latents `[..., D]`."""
        expected = (self.interface.height, self.interface.width, 3)
        if frames.dtype != torch.uint8 or tuple(frames.shape[-3:]) != expected:
            raise WorldModelError(
                f"Frames are {frames.dtype} {list(frames.shape)}; this model was trained on uint8 [..., "
                f"{', '.join(map(str, expected))}]."
            )
        latents: Tensor = self.encoder(frames.reshape(-1, *expected))
        return latents.view(*frames.shape[:-3], -1)

    def scale_actions(self, actions: Tensor) -> Tensor:
        """Scale actions `[..., A]` from the actuators' units to [-1, 1]."""
        scaled: Tensor = (actions - self.low) / (self.high - self.low) * 2 - 1
        return scaled

    def flatten_actions(self, actions: Tensor) -> Tensor:
        """Scale blocks `[..., K, A]`, in the actuators' units, to `[..., U]` in [-1, 1]."""
        return self.scale_actions(actions).flatten(-2)

    def remember(self, latents: Tensor, actions: Tensor, felt: Tensor | None = None) -> Tensor:
        """Return the predictor's state `[B, W]` after visible latents `[B, C, D]` and the blocks between them.

        Args:
            actions: `[B, C - 1, K, A]`, in the actuators' units.
            felt: `[B, C, P]`, in physical units; None where nobody knows it, or the model has no proprioception.
        """
        return self.predictor.remember(latents, self.flatten_actions(actions), felt)

    def imagine(self, state: Tensor, actions: Tensor) -> Tensor:
        """Forecast the latents `[B, N, M, D]` that plans `[B, N, M, K, A]` lead to from states `[B, W]`."""
        return self.predictor.imagine(state, self.flatten_actions(actions)).float()

    def propose(self, before: Tensor, now: Tensor, goal: Tensor, *, horizon: int, hold: int) -> Tensor:
        """Propose plans, as the recording got from frame to frame: some for each time to the goal that was trained on.

        Args:
            before, now, goal: latents of the frame before, of this one and of the goal, `[B, D]` each.
            horizon: M, blocks in a plan; beyond the goal, actions are in the middle of their bounds.
            hold: control steps for which an action is held, a divisor of K.

        Returns:
            `[B, N, M, S, A]`, in the actuators' units and within their bounds; S is K / `hold`.
        """
        steps = self.interface.steps_per_frame
        blocks = self.proposer.plans(before, now, goal, horizon)
        held = blocks.view(*blocks.shape[:-1], steps // hold, hold, -1).mean(-2)
        return (self.high + self.low) / 2 + held * (self.high - self.low) / 2

    def steps_between(self, now: Tensor, goal: Tensor) -> Tensor:
        """Tell the frames that it takes from latents `[..., D]` to goals `[..., D]`, `[...]`."""
        frames: Tensor = self.distance(now, goal)
        return frames

    def actions_between(self, now: Tensor, goal: Tensor) -> Tensor:
        """Tell the action, held for a block, that carries latents `[..., D]` to goals `[..., D]`, by a linear map.

        Returns:
            `[..., A]`, as shares of half the actuators' ranges; not within them where a block is not enough.
        """
        return (goal - now) @ self.reach.T

    def reward_of(self, before: Tensor, now: Tensor, after: Tensor, actions: Tensor) -> Tensor:
        """Tell the rewards of blocks `[..., K, A]`, in the actuators' units.

        Args:
            before, now, after: latents `[..., D]`, `now` where the block begins and `after` where it ends.

        Returns:
            `[...]`, in standard deviations from the mean of the recorded blocks' rewards.
        """
        rewards: Tensor = self.reward(before, now, after, self.flatten_actions(actions))
        return rewards

    def disagreement_about(self, before: Tensor, now: Tensor, actions: Tensor) -> Tensor:
        """Tell how unlike each other forecasts of what blocks `[..., K, A]` lead to are.

        Args:
            before, now: latents `[..., D]` of the frame before and of the one at which the block begins.

        Returns:
            `[...]`: 1 is as large as the variance of the latents' steps.
        """
        return self.disagreement.variance(before, now, self.flatten_actions(actions))

    def picture(self, latents: Tensor) -> Tensor:
        """Draw latents `[..., D]` as frames `[..., H, W, 3]`, uint8."""
        drawn = self.decoder(latents.reshape(-1, latents.shape[-1])).float()
        pixels = ((drawn + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        frames: Tensor = pixels.reshape(*latents.shape[:-1], *pixels.shape[1:])
        return frames
