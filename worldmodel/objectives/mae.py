"""Masked autoencoders: hide most of a frame, or of a clip, and draw what was hidden."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from worldmodel.errors import WorldModelError
from worldmodel.models.decoder import Decoder, DecoderConfig
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.masking import PatchConfig, Patches
from worldmodel.objectives.objective import ClipTensors, Objective


@dataclass(frozen=True)
class MAEConfig:
    """Single frames, each with patches of its own hidden.

    Attributes:
        decoder: draws frames in training; another than the model's own.
    """

    patches: PatchConfig = field(default_factory=PatchConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)


@dataclass(frozen=True)
class VideoMAEConfig:
    """Clips, with the same patches hidden in all frames of a clip: tubes.

    Attributes:
        decoder: draws frames in training; another than the model's own.
        width, depth, heads: of the transformer that mixes the latents of a clip before they are drawn.
    """

    patches: PatchConfig = field(default_factory=lambda: PatchConfig(hidden=0.9))
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    width: int = 128
    depth: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if self.width % (2 * self.heads):
            raise WorldModelError(f"width is {self.width}; expected a multiple of 2 * heads, {2 * self.heads}.")


@dataclass(frozen=True)
class MAELogs:
    """What is logged of a step; each a scalar.

    Attributes:
        hidden_error: mean squared error of the hidden patches, each with variance 1: a grey patch scores about 1.
        latent_std: standard deviation of the latents over the batch, mean over dimensions.
    """

    hidden_error: Tensor
    latent_std: Tensor


class MAE(Objective):
    """Draw the hidden patches of a frame from the latent of the others.

    Source: He et al., Masked autoencoders are scalable vision learners, 2022. Differs, so that any encoder that takes
    a frame and gives a latent can learn by it: hidden patches are painted over in pixels, not left out of the
    encoder (which saves it no time); the decoder is convolutional and sees one latent, not a token for each visible
    patch, so the whole frame must go through it; and patches that are nearly flat count little.
    """

    least_frames = 1

    def __init__(self, config: MAEConfig, *, model: WorldModel) -> None:
        super().__init__()
        self.config = config
        size = {"height": model.interface.height, "width": model.interface.width}
        self.patches = Patches(config.patches, **size)
        self.decoder = Decoder(config.decoder, latent=model.config.latent, **size)

    def forward(self, model: WorldModel, clips: ClipTensors, draws: Draws) -> tuple[Tensor, MAELogs]:
        self.check_length(clips)
        frames = clips.frames.flatten(0, 1)
        masks = self.patches.draw(len(frames), draws)
        latents = model.encode(self.patches.hide(frames, masks))
        error = self.patches.error(self.decoder(latents), frames, masks)
        return error, MAELogs(error.detach(), latents.detach().std(0).mean())


class VideoMAE(Objective):
    """Draw the tubes that are hidden in a clip from the latents of all its frames.

    Shapes: B clips, L frames, D latent.

    Source: Tong et al., VideoMAE, 2022. Differs as `MAE` does; each frame is encoded for itself, and a small
    transformer, which looks both ways in time, mixes the latents before they are drawn.
    """

    def __init__(self, config: VideoMAEConfig, *, model: WorldModel) -> None:
        super().__init__()
        self.config = config
        size = {"height": model.interface.height, "width": model.interface.width}
        self.patches = Patches(config.patches, **size)
        self.mixer = Mixer(config, latent=model.config.latent)
        self.decoder = Decoder(config.decoder, latent=config.width, **size)

    def forward(self, model: WorldModel, clips: ClipTensors, draws: Draws) -> tuple[Tensor, MAELogs]:
        self.check_length(clips)
        b, length = clips.frames.shape[:2]
        frames = clips.frames.flatten(0, 1)
        masks = self.patches.draw(b, draws).repeat_interleave(length, 0)
        latents = model.encode(self.patches.hide(frames, masks))
        mixed = self.mixer(latents.view(b, length, -1)).flatten(0, 1)
        error = self.patches.error(self.decoder(mixed), frames, masks)
        return error, MAELogs(error.detach(), latents.detach().std(0).mean())


class Mixer(nn.Module):
    """A transformer over the latents of a clip, which looks both ways: `[B, L, D]` to `[B, L, width]`."""

    def __init__(self, config: VideoMAEConfig, *, latent: int) -> None:
        super().__init__()
        self.embed = nn.Linear(latent, config.width)
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    config.width, config.heads, 4 * config.width, 0.0, "gelu", batch_first=True, norm_first=True
                )
                for _ in range(config.depth)
            )
        )

    def forward(self, latents: Tensor) -> Tensor:
        embedded = self.embed(latents)
        mixed: Tensor = self.blocks(embedded + _positions(latents.shape[1], embedded))
        return mixed


def _positions(length: int, like: Tensor) -> Tensor:
    """Return sines and cosines of the time, `[length, width]`; Vaswani et al., Attention is all you need, 2017."""
    width = like.shape[-1]
    rate = torch.exp(torch.arange(0, width, 2, device=like.device) * (-math.log(10_000) / width))
    angle = torch.arange(length, device=like.device)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)
