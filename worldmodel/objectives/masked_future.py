"""Masked-future forecasting: hide the end of a clip, forecast its latents from the beginning and the actions."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.objective import ClipTensors, Objective, Part
from worldmodel.objectives.sigreg import SIGReg, SIGRegConfig
from worldmodel.objectives.sketch import Sketch, SketchConfig
from worldmodel.objectives.straightness import straightness
from worldmodel.objectives.teacher import TeacherConfig, follow
from worldmodel.objectives.variance import VarianceConfig, variance_covariance

AntiCollapse = Literal["sigreg", "variance", "teacher"]


@dataclass(frozen=True)
class MaskedFutureConfig:
    """What else is hidden, and what keeps the latents from collapsing.

    Attributes:
        action_dropout: share of clips that are forecast without their actions: 1 learns from video alone.
        proprioception_dropout: share of clips that are forecast without what the robot felt, as a dream must be that
            goes on from its own frames; of no effect without model.proprioception.
        two_step_weight: weight of a second forecast, for which the first one's next frame is taken for seen: planning
            stands on forecasts, not on frames. 0 leaves it out.
        anti_collapse: "sigreg" makes the latents' distribution a standard normal; "variance" holds variances up and
            covariances down, as VICReg does; "teacher" takes the targets from a slowly following copy of the
            encoder, without gradient.
        anti_collapse_weight: weight of the first two. SIGReg's statistic grows with the batch: hold weight times
            batch.
        inverse_weight: weight of inverse dynamics: which action led from frame to frame. It keeps in the
            latents what the actions move, though it be small.
        sketch_weight: weight of drawing each clip's first and last frame, coarsely, from their latents. It keeps in
            the latents what is seen, though nothing moves it yet. 0 learns without looking at a pixel twice.
        straight_weight: weight of temporal straightening: 1 - cosine between one step of the latent and the next.
    """

    action_dropout: float = 0.1
    proprioception_dropout: float = 0.1
    two_step_weight: float = 0.0
    anti_collapse: AntiCollapse = "sigreg"
    anti_collapse_weight: float = 0.1
    inverse_weight: float = 10.0
    sketch_weight: float = 10.0
    straight_weight: float = 0.0
    sigreg: SIGRegConfig = field(default_factory=SIGRegConfig)
    variance: VarianceConfig = field(default_factory=VarianceConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    sketch: SketchConfig = field(default_factory=SketchConfig)

    def __post_init__(self) -> None:
        for name in ("action_dropout", "proprioception_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected a share between 0 and 1.")
        for entry in fields(self):
            if entry.name.endswith("_weight") and not 0 <= getattr(self, entry.name) < math.inf:
                raise WorldModelError(f"{entry.name} is {getattr(self, entry.name)}; expected 0 or more.")


@dataclass(frozen=True)
class MaskedFutureLogs:
    """What is logged of a step; each a scalar.

    Attributes:
        forecast: mean squared error of the masked latents, per dimension.
        anti_collapse: before its weight; 0 with a teacher.
        inverse: mean squared error of the actions, in [-1, 1].
        sketch: squared error of the sketches, as a share of what differs between frames; 0 without them.
        straight: cosine between one step of the latent and the next, mean.
        latent_std: standard deviation of the latents over the batch, mean over dimensions.
    """

    forecast: Tensor
    anti_collapse: Tensor
    inverse: Tensor
    sketch: Tensor
    straight: Tensor
    latent_std: Tensor


class MaskedFuture(Objective):
    """Forecast masked latents; the targets are the encoder's own latents of the masked frames.

    Shapes: B clips, L frames, K control steps in a block, A actuators, D latent.

    Source: LeWorldModel (Maes et al., 2026) and V-JEPA 2-AC (Assran et al., 2025). Differs: a random beginning is
    visible and the whole rest is forecast in one pass, from mask tokens, and the actions may be missing.
    """

    trains: ClassVar[frozenset[Part]] = frozenset({"encoder", "predictor", "inverse"})
    least_frames = 3  # inverse dynamics looks at three

    def __init__(self, config: MaskedFutureConfig, *, model: WorldModel) -> None:
        super().__init__()
        self.config = config
        self._sigreg = SIGReg(config.sigreg)
        size = {"height": model.interface.height, "width": model.interface.width, "latent": model.config.latent}
        self.sketch = Sketch(config.sketch, **size) if config.sketch_weight else None
        self.teacher = deepcopy(model.encoder).requires_grad_(False) if config.anti_collapse == "teacher" else None

    def forward(self, model: WorldModel, clips: ClipTensors, draws: Draws) -> tuple[Tensor, MaskedFutureLogs]:
        self.check_length(clips)
        config = self.config
        latents = model.encode(clips.frames)
        targets = self._targets(clips.frames, latents)
        forecast = forecast_error(model, latents, targets, clips.actions, config, draws, felt=clips.felt)
        anti_collapse = self._anti_collapse(latents, draws)
        inverse = inverse_error(model, latents, clips.actions)
        sketch = self._sketch_error(clips.frames, latents)
        straight = straightness(latents)
        loss = (
            forecast
            + config.anti_collapse_weight * anti_collapse
            + config.inverse_weight * inverse
            + config.sketch_weight * sketch
            + config.straight_weight * (1 - straight)
        )
        std = latents.detach().flatten(0, 1).std(0).mean()
        return loss, MaskedFutureLogs(
            *(value.detach() for value in (forecast, anti_collapse, inverse, sketch, straight, std))
        )

    def against_collapse(self, options: str) -> str:
        if self.teacher is not None:  # nothing has that weight
            return f"choose --{options}.anti-collapse sigreg"
        return f"raise --{options}.anti-collapse-weight"

    @torch.no_grad()
    def begin(self, model: WorldModel) -> None:
        if self.teacher is not None:
            self.teacher.load_state_dict(model.encoder.state_dict())

    @torch.no_grad()
    def after_step(self, model: WorldModel, progress: float) -> None:
        if self.teacher is not None:
            follow(self.teacher, model.encoder, self.config.teacher, progress)

    def _targets(self, frames: Tensor, latents: Tensor) -> Tensor:
        if self.teacher is None:
            return latents
        with torch.no_grad():
            targets: Tensor = self.teacher(frames.flatten(0, 1)).view_as(latents)
        return targets

    def _sketch_error(self, frames: Tensor, latents: Tensor) -> Tensor:
        if self.sketch is None:
            return latents.new_zeros(())
        ends = slice(None, None, latents.shape[1] - 1)  # the first and the last, as a view
        error: Tensor = self.sketch(latents[:, ends].flatten(0, 1), frames[:, ends].flatten(0, 1))
        return error

    def _anti_collapse(self, latents: Tensor, draws: Draws) -> Tensor:
        """Return what is high where latents collapse; every time step is a set of its own."""
        if self.config.anti_collapse == "sigreg":
            return self._sigreg(latents.transpose(0, 1), draws)
        if self.config.anti_collapse == "variance":
            return torch.stack([variance_covariance(z, self.config.variance) for z in latents.unbind(1)]).mean()
        return latents.new_zeros(())


def forecast_error(
    model: WorldModel,
    latents: Tensor,
    targets: Tensor,
    actions: Tensor,
    config: MaskedFutureConfig,
    draws: Draws,
    *,
    felt: Tensor | None = None,
    emphasis: Tensor | None = None,
) -> Tensor:
    """Hide the end of each clip and return the mean squared error of its forecast, a scalar.

    Every clip counts the same, however many of its frames are masked.

    Args:
        latents: `[B, L, D]` of all frames; the masked ones are not looked at.
        targets: `[B, L, D]`, what should be forecast.
        actions: `[B, L - 1, K, A]`.
        draws: how many frames each clip shows, which clips lose their actions, and which what was felt.
        felt: `[B, L, P]`, what the robot felt at each frame, where the model has proprioception.
        emphasis: `[E, D]`; squared errors along each of these rows count in addition. None counts none twice.
    """
    b, length = latents.shape[:2]
    if model.most_visible >= length:
        raise WorldModelError(
            f"Up to {model.most_visible} frames are visible, but clips have {length}: at least one must be masked. "
            "Use longer clips or a smaller model.predictor.visible."
        )
    count = draws.integers(1, model.most_visible + 1, b, 1)
    positions = torch.arange(length, device=latents.device)
    acted = draws.uniform(b) >= config.action_dropout
    feels = draws.uniform(b) >= config.proprioception_dropout if model.config.proprioception else None
    blocks = model.flatten_actions(actions)

    def forecast_after(seen: Tensor, count: Tensor, felt: Tensor | None) -> tuple[Tensor, Tensor]:
        visible = positions < count
        forecast = model.predictor(seen, visible, blocks, acted, felt=felt, feels=feels).float()
        gap = forecast - targets
        squares = gap.square().mean(-1)
        if emphasis is not None:
            squares = squares + (gap @ emphasis.T).square().sum(-1)
        error = squares.masked_fill(visible, 0)
        return forecast, (error.sum(1) / (length - count[:, 0]).clamp_min(1)).mean()

    forecast, error = forecast_after(latents, count, felt)
    if not config.two_step_weight:
        return error
    imagined = torch.where((positions == count)[..., None], forecast, latents)
    # nobody knows what an imagined frame feels like
    return error + config.two_step_weight * forecast_after(imagined, count + 1, None)[1]


def inverse_error(model: WorldModel, latents: Tensor, actions: Tensor) -> Tensor:
    """Return the mean squared error with which the blocks 1 to L - 2 are told from the latents; 0 without actions.

    Args:
        latents: `[B, L, D]`.
        actions: `[B, L - 1, K, A]`.
    """
    known = model.flatten_actions(actions)[:, 1:]
    squares: Tensor = (model.inverse(latents).float() - known).square()
    # of a video, whose actions nobody knows, the sum of nothing: 0, with a gradient for every parameter
    return squares.mean() if squares.numel() else squares.sum()
