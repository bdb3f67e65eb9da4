"""Every encoder, by its configuration."""

from __future__ import annotations

from worldmodel.errors import unknown_name
from worldmodel.models.conv import ConvEncoder, ConvEncoderConfig
from worldmodel.models.vit import ViTEncoder, ViTEncoderConfig

Encoder = ConvEncoder | ViTEncoder
EncoderConfig = ConvEncoderConfig | ViTEncoderConfig


ENCODERS: dict[str, type[EncoderConfig]] = {"conv": ConvEncoderConfig, "vit": ViTEncoderConfig}


def encoder_config(name: str) -> EncoderConfig:
    """Return the defaults of the encoder called `name`.

    Raises:
        WorldModelError: no such encoder; lists those there are.
    """
    if name not in ENCODERS:
        raise unknown_name("encoder", name, ENCODERS)
    return ENCODERS[name]()


def make_encoder(config: EncoderConfig, *, height: int, width: int, latent: int) -> Encoder:
    """Make the encoder that a configuration describes, for frames of `height` x `width` pixels."""
    if isinstance(config, ConvEncoderConfig):
        return ConvEncoder(config, height=height, width=width, latent=latent)
    return ViTEncoder(config, height=height, width=width, latent=latent)
