"""Masked-future forecasting: hide the end of a clip, forecast its latents from the beginning and the actions."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.sigreg import SIGReg, SIGRegConfig


@dataclass(frozen=True)
class MaskedFutureConfig:
    """What is hidden, and what keeps the latents from collapsing.

    Attributes:
        visible: C, the most frames that are visible; each clip shows 1 to C of them.
        action_dropout: share of clips that are forecast without their actions.
        sigreg_weight: weight of SIGReg, whose statistic grows with the batch.
        inverse_weight: weight of inverse dynamics: which action led from frame to frame. It keeps in the
            latents what the actions move, though it be small.
    """

    visible: int = 3
    action_dropout: float = 0.1
    sigreg_weight: float = 0.5
    inverse_weight: float = 1.0
    sigreg: SIGRegConfig = field(default_factory=SIGRegConfig)

    def __post_init__(self) -> None:
        if self.visible < 1:
            raise WorldModelError(f"visible is {self.visible}; expected at least 1.")


@dataclass(frozen=True)
class MaskedFutureLogs:
    """What is logged of a step; each a scalar.

    Attributes:
        forecast: mean squared error of the masked latents, per dimension.
        sigreg: the statistic, before its weight.
        inverse: mean squared error of the actions, in [-1, 1].
        latent_std: standard deviation of the latents over the batch, mean over dimensions.
    """

    forecast: Tensor
    sigreg: Tensor
    inverse: Tensor
    latent_std: Tensor


class MaskedFuture:
    """Forecast masked latents; the targets are the encoder's own latents of the masked frames.

    Shapes: B clips, L frames, K control steps in a block, A actuators, D latent.
    """

    def __init__(self, config: MaskedFutureConfig) -> None:
        self.config = config
        self._sigreg = SIGReg(config.sigreg)

    def __call__(
        self, model: WorldModel, frames: Tensor, actions: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, MaskedFutureLogs]:
        """Return the loss of a batch and what to log.

        Args:
            frames: `[B, L, H, W, 3]` uint8.
            actions: `[B, L - 1, K, A]`.
            generator: draws the masks and SIGReg's directions.
        """
        latents = model.encode(frames)
        forecast = forecast_error(model, latents, actions, self.config, generator)
        sigreg = self._sigreg(latents.transpose(0, 1), generator)
        known = model.flatten_actions(actions)[:, 1:]
        inverse = (model.inverse(latents).float() - known).square().mean()
        loss = forecast + self.config.sigreg_weight * sigreg + self.config.inverse_weight * inverse
        std = latents.detach().flatten(0, 1).std(0).mean()
        return loss, MaskedFutureLogs(forecast.detach(), sigreg.detach(), inverse.detach(), std)


def forecast_error(
    model: WorldModel, latents: Tensor, actions: Tensor, config: MaskedFutureConfig, generator: torch.Generator
) -> Tensor:
    """Hide the end of each clip and return the mean squared error of its forecast, a scalar.

    Args:
        latents: `[B, L, D]` of all frames, hidden ones too: they are the targets.
        actions: `[B, L - 1, K, A]`.
        generator: draws how many frames each clip shows, and which clips lose their actions.
    """
    b, length = latents.shape[:2]
    if config.visible >= length:
        raise WorldModelError(
            f"visible is {config.visible}, but clips have {length} frames: at least one must be masked. "
            "Use longer clips or a smaller objective.visible."
        )
    device = latents.device
    count = torch.randint(1, config.visible + 1, (b, 1), generator=generator, device=device)
    visible = torch.arange(length, device=device) < count
    acted = torch.rand(b, generator=generator, device=device) >= config.action_dropout
    forecast = model.predictor(latents, visible, model.flatten_actions(actions), acted).float()
    error: Tensor = (forecast - latents).square().mean(-1)[~visible].mean()
    return error
