"""Every encoder, by its configuration."""

from __future__ import annotations

from worldmodel.models.conv import ConvEncoder, ConvEncoderConfig
from worldmodel.models.vit import ViTEncoder, ViTEncoderConfig

Encoder = ConvEncoder | ViTEncoder
EncoderConfig = ConvEncoderConfig | ViTEncoderConfig


def make_encoder(config: EncoderConfig, *, height: int, width: int, latent: int) -> Encoder:
    """Make the encoder that a configuration describes, for frames of `height` x `width` pixels."""
    if isinstance(config, ConvEncoderConfig):
        return ConvEncoder(config, height=height, width=width, latent=latent)
    return ViTEncoder(config, height=height, width=width, latent=latent)
